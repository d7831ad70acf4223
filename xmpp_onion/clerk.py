"""Takes in what comes: each message is decrypted and kept in one transaction.

Live messages and those of the archive take the same way. Whatever cannot be read is
kept as such; nothing that somebody sends may end a client or come back for ever.
"""

import asyncio
import hashlib
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from xmpp_onion.address import JID
from xmpp_onion.backlog import Step
from xmpp_onion.chat import (
    Content,
    DeliveryState,
    Event,
    Gap,
    Message,
    Said,
    Typing,
    Undecryptable,
    event_of,
    write_event,
)
from xmpp_onion.confirmations import Confirmations
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import (
    OMEMO_OLD,
    Decrypted,
    Omemo,
    accepts,
    essence,
    reader_ids,
    sender_ids,
)
from xmpp_onion.errors import DecryptionError, DeviceListError
from xmpp_onion.one_error import place_of
from xmpp_onion.rooms import Moderations, RoomNames, Rooms, Shown
from xmpp_onion.session import (
    NO_FAULTS,
    Incoming,
    Notice,
    Session,
    read_content,
)
from xmpp_onion.store import Attempts, Cursor, Cursors, Database, Inbox
from xmpp_onion.strangers import Strangers
from xmpp_onion.timers import Timers, is_over
from xmpp_onion.waiting import WaitingRoom

__all__ = ["Clerk"]

log = logging.getLogger(__name__)

_FAULT = "our reader failed at it"
_NOBODYS = "a room does not say who wrote it, or it was said in private within one"


class Clerk:
    """Reads what came and puts it into the inbox, one message at a time.

    Args:
        database: Of the account.
        session: Where it came from; keys of senders are asked for there.
        omemo: Decrypts it.
        courier: Keeps what the ratchet wants from the network.
        deliveries: What is said about messages of ours goes there.
        strangers: Says what is opened of theirs, and what is told.
        confirmations: Owes who asks for it that a message arrived.
        attempts: Knows which messages ended a process.
        rooms: Which places are in rooms, and no people.
        moderations: What rooms say was taken out of them goes there.
        timers: Say when something is to be erased.
        own: Our bare JID.

    Attributes:
        news: Set when the inbox has got something; its reader clears it.
        room: Where messages wait for keys; its owner runs it.
    """

    def __init__(  # noqa: PLR0913 - what it takes to read a message, by name
        self,
        database: Database,
        session: Session,
        omemo: Omemo,
        *,
        courier: Courier,
        deliveries: Deliveries,
        strangers: Strangers,
        confirmations: Confirmations,
        attempts: Attempts,
        rooms: Rooms,
        moderations: Moderations,
        timers: Timers,
        own: JID,
    ) -> None:
        self._rooms, self._moderations = rooms, moderations
        self._timers = timers
        self.news = deliveries.news
        self._strangers = strangers
        self._deliveries = deliveries
        self._confirmations = confirmations
        self._attempts = attempts
        self._database = database
        self._inbox, self._cursors = Inbox(database), Cursors(database)
        self._omemo = omemo
        self._courier = courier
        self._own = own
        self._names = RoomNames(database, own)
        self._shown = Shown(database, news=deliveries.news)
        self._turn = asyncio.Lock()
        self.room = WaitingRoom(
            database,
            session,
            omemo,
            strangers=strangers,
            own=own,
            hand_over=self._take_waiting,
        )

    async def take_step(self, step: Step) -> None:
        """Take in one step of a backlog: what came, or what the archive has lost."""
        if step.incoming is not None:
            await self.take_in(step.incoming, step.cursor)
            return
        if step.invitation is not None:
            await self._rooms.take(step.invitation)
        async with self._database.transaction():
            await self._move(step.cursor)
            if step.missing is not None:
                since, until = step.missing
                now, archive = datetime.now(UTC), step.cursor.archive
                whose = JID(archive) if archive else self._own
                gap = Gap(sender=whose, since=since, until=until, at=now)
                await self._inbox.put(write_event(gap))
        self.news.set()

    async def _move(self, cursor: Cursor | None) -> None:
        if cursor is not None:
            await self._cursors.move(cursor.archive or self._own, cursor)
            # It passes what was not opened, which is to be known after a kill.
            await self._strangers.write_down()

    async def take_in(self, incoming: Incoming, place: Cursor | None) -> None:
        """Decrypt one message and keep what it says, in one transaction.

        Args:
            incoming: The message, live or from the archive.
            place: Where the archive is taken in up to after it, if that is known.
        """
        try:
            await self._take_in(incoming, place)
        except NO_FAULTS:
            raise  # ours to mend; the server still has the message
        except Exception as fault:  # noqa: BLE001 - a mistake of ours would come back with every login
            log.error("a message broke its reader (%s)", place_of(fault))  # noqa: TRY400 - a traceback may quote the message
            async with self._turn:
                bare = replace(incoming, encrypted=(), excess=_FAULT)
                await self._keep_unreadable(bare, place, DecryptionError(_FAULT))
            self.news.set()

    async def _take_in(self, incoming: Incoming, place: Cursor | None) -> None:
        incoming = self._named(incoming)
        if self._is_for_others(incoming):
            # A stranger's is passed with the next message that counts.
            if not await self._is_strangers(incoming):
                await self._note_place(place, incoming)
            return
        async with self._turn:
            # Nobody else takes a message in meanwhile, so it is asked once.
            is_known = await self._inbox.is_seen(incoming.key)
            if not is_known and not await self._is_opened(incoming):
                await self._pass_over(place)
                return
            if incoming.notice is not None:
                await self._keep_notice(incoming, incoming.notice, place)
            elif incoming.room is not None and incoming.moderation is not None:
                async with self._database.transaction():
                    await self._move(place)
                    await self._moderations.take(
                        incoming.room,
                        incoming.moderation,
                        incoming.at,
                        key=incoming.key,
                    )
            elif (nobodys := self._find_nobodys(incoming)) is not None:
                await self._keep_unreadable(nobodys, place, DecryptionError(_NOBODYS))
            elif not is_known and not await self._has_share(incoming):
                too_many = DecryptionError("too many strangers write at once")
                await self._keep_unreadable(incoming, place, too_many)
            elif is_known or not (
                await self.room.must_wait(incoming)
                and await self._set_aside(incoming, place)
            ):
                await self._take(incoming, place, is_known=is_known)
        self.news.set()

    async def is_known(self, incoming: Incoming) -> bool:
        """Tell whether a message was taken in before."""
        return await self._inbox.is_seen(self._named(incoming).key)

    def _named(self, incoming: Incoming) -> Incoming:
        """Name a message by its sender and what this device reads of it.

        No id goes in: ids are chosen by the sender, and can be changed by servers.
        So nobody can suppress or repeat another's message by its id, and a copy
        under a new one, or without the keys of others, is known before it is
        decrypted.
        """
        parts = essence(incoming.encrypted, self._own, self._omemo.device_id)
        if not parts:
            return incoming
        name = "\0".join((incoming.sender.bare, *parts))
        return replace(incoming, key=hashlib.sha256(name.encode()).hexdigest())

    async def _pass_over(self, place: Cursor | None) -> None:
        """Write down what was only counted, when there is enough of it."""
        if self._strangers.is_due:
            async with self._database.transaction():
                await self._strangers.write_down()
                await self._move(place)

    async def _is_opened(self, incoming: Incoming) -> bool:
        """Tell whether to look into a message that is new."""
        is_alone = incoming.room is None
        return not is_alone or await self._strangers.may_open(incoming.sender)

    async def _is_strangers(self, incoming: Incoming) -> bool:
        """Tell whether somebody sent it whose share is bounded.

        Nobody gets into our rooms who was not let in, and the server of a room bounds
        what each says there.
        """
        is_alone = incoming.room is None
        return is_alone and await self._strangers.is_stranger(incoming.sender)

    def _find_nobodys(self, incoming: Incoming) -> Incoming | None:
        """Return what nobody is known to have said, as the room's; else None.

        What is said in private within a room comes from a place that may be
        somebody else's tomorrow. It is not read as if it came from a person.
        """
        if incoming.is_nobodys:
            return incoming
        room = incoming.sender.bare
        is_private = incoming.room is None and self._rooms.state(room) is not None
        return replace(incoming, room=room) if is_private else None

    async def _take(
        self, incoming: Incoming, place: Cursor | None, *, is_known: bool
    ) -> None:
        """Read a message, or keep that it cannot be read; its keys were asked for."""
        if is_known:
            async with self._database.transaction():
                await self._move(place)
            return
        if not await self._attempts.may_try(incoming.key):
            deadly = DecryptionError("whoever tried to read it was ended by it")
            await self._keep_unreadable(incoming, place, deadly)
            return
        try:
            await self._keep_read(incoming, place)
        except (DecryptionError, DeviceListError) as error:
            log.info("a message could not be read: %s", error.what)
            await self._keep_unreadable(incoming, place, error)
        except NO_FAULTS:
            raise  # ours to mend; the server still has the message
        except Exception as error:  # noqa: BLE001 - what a library cannot digest would come back with every login
            log.error("a message broke its reader (%s)", type(error).__name__)  # noqa: TRY400 - a traceback may quote the message
            malformed = DecryptionError("it is malformed")
            await self._keep_unreadable(incoming, place, malformed)

    async def _set_aside(self, incoming: Incoming, place: Cursor | None) -> bool:
        """Let a message wait for its keys; False if there is no room for it."""
        async with self._database.transaction():
            is_kept = await self.room.keep(incoming)
            if is_kept:
                await self._move(place)
        self.room.look()
        return is_kept

    async def _take_waiting(
        self, incoming: Incoming, failure: DeviceListError | None
    ) -> None:
        """Read a message that has waited, or keep that its keys did not come."""
        async with self._turn:
            if failure is None:
                is_known = await self._inbox.is_seen(incoming.key)
                await self._take(incoming, None, is_known=is_known)
            else:
                await self._keep_unreadable(incoming, None, failure)
        self.news.set()

    # --- what a message says ----------------------------------------------------

    def _is_for_others(self, incoming: Incoming) -> bool:
        """Tell whether this device has nothing to do with it, and misses nothing.

        The archive and a message to ourselves bring back what we sent; another
        device of ours did not know this one when it sent what has no key for it;
        and what has no text for people, for other devices, says nothing to this one.
        """
        encrypted, this = incoming.encrypted, self._omemo.device_id
        is_own = incoming.sender.bare == self._own.bare
        if not encrypted or (is_own and this in sender_ids(encrypted)):
            return bool(encrypted)
        is_silent = incoming.is_silent or all(
            each.find("{*}payload") is None for each in encrypted
        )
        return (is_own or is_silent) and this not in reader_ids(encrypted)

    async def _note_place(self, place: Cursor | None, of: Incoming) -> None:
        """Note that something was passed; a room gives us back what we said there."""
        is_back = of.room is not None and of.sender.bare == self._own.bare
        if place is None and not is_back:
            return
        async with self._database.transaction():
            await self._move(place)
            await self._names.note(of.room, of.stanza_id, of.id, of.sender)
            if is_back and of.room is not None:
                await self._deliveries.confirm(
                    of.id,
                    of.room,
                    DeliveryState.RECEIVED,
                    authenticated=False,
                    at=of.at,
                )

    async def _keep_read(self, incoming: Incoming, place: Cursor | None) -> None:
        """Keep what a message says that was not taken in before."""
        async with self._database.transaction():
            await self._move(place)
            decrypted = await self._decrypt(incoming)
            await self._inbox.mark_seen(incoming.key)
            await self._attempts.note_done(incoming.key)
            if decrypted.plain is not None:
                content = read_content(decrypted.plain.text, decrypted.plain.payload)
                await self._keep_content(incoming, decrypted, content)
            await self._courier.keep_effects()

    async def _keep_notice(
        self, incoming: Incoming, notice: Notice, place: Cursor | None
    ) -> None:
        """Move the state of a delivery, if who says so may.

        It need not be known a second time: a state only goes forward. And what is
        about no message of ours costs nothing, however much of it comes.
        """
        if await self._deliveries.load(notice.target) is None:
            if not await self._is_strangers(incoming):
                await self._note_place(place, incoming)
            return
        async with self._database.transaction():
            await self._move(place)
            if notice.state is DeliveryState.FAILED:
                await self._deliveries.fail(notice.target, notice.by, notice.reason)
            elif notice.by is not None:
                await self._deliveries.confirm(
                    notice.target,
                    notice.by,
                    notice.state,
                    authenticated=False,
                    at=incoming.at,
                )

    async def fetch_senders(self, steps: list[Step]) -> None:
        """Fetch what a page needs of unknown devices, all at once.

        Who answers too late is asked again when the message is read.
        """
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(self.room.patience),
                asyncio.TaskGroup() as tasks,
            ):
                for step in {_device_of(step): step for step in steps}.values():
                    if step.incoming is not None:
                        tasks.create_task(self._try_to_fetch(step.incoming))

    async def _fetch_ahead(self, incoming: Incoming) -> None:
        """Fetch once; what fails is fetched again when the message is read."""
        incoming = self._named(incoming)
        if not incoming.encrypted or await self._inbox.is_seen(incoming.key):
            return
        if not await self._has_share(incoming):
            return
        with suppress(DeviceListError):
            await self._omemo.fetch_sender(incoming.encrypted, incoming.sender)

    async def _try_to_fetch(self, incoming: Incoming) -> None:
        """Fetch what a message needs; one that breaks us does so when it is read."""
        try:
            await self._fetch_ahead(incoming)
        except NO_FAULTS:
            raise
        except Exception as fault:  # noqa: BLE001 - as of take_in
            log.info("nothing is fetched for a message (%s)", place_of(fault))

    async def _has_share(self, incoming: Incoming) -> bool:
        """Tell whether a message may make us fetch the keys that it needs."""
        sender = incoming.sender
        return (
            not incoming.encrypted
            or not await self._is_strangers(incoming)
            or await self._omemo.is_at_hand(incoming.encrypted, sender)
            or self.room.asks_for(incoming)
            or self._strangers.may_fetch()
        )

    async def _decrypt(self, incoming: Incoming) -> Decrypted:
        if incoming.excess:
            raise DecryptionError(incoming.excess)
        if not incoming.encrypted:
            raise DecryptionError("it was sent without encryption")
        is_own = incoming.sender.bare == self._own.bare
        return await self._omemo.decrypt(
            incoming.encrypted,
            incoming.sender,
            to=incoming.to if is_own else None,
            room=incoming.room,
        )

    async def _keep_unreadable(
        self,
        incoming: Incoming,
        place: Cursor | None,
        error: DecryptionError | DeviceListError,
    ) -> None:
        is_known = await self._inbox.is_seen(incoming.key)
        whose = incoming.room or incoming.sender.bare
        is_told = is_known or await self._strangers.may_tell(whose)
        if not is_told and await self._is_strangers(incoming):
            await self._pass_over(place)  # and nobody else's is forgotten for it
            return
        async with self._database.transaction():
            await self._move(place)
            if is_known:
                return
            await self._inbox.mark_seen(incoming.key)
            await self._attempts.note_done(incoming.key)
            if is_told:
                unreadable = Undecryptable(
                    id=incoming.id,
                    sender=whose,
                    reason=error.why or error.what,
                    at=incoming.at,
                    room=incoming.room,
                    plaintext=not incoming.encrypted and not incoming.excess,
                )
                await self._keep_of(incoming, unreadable)
            await self._omemo.heal(incoming.encrypted, incoming.sender, error)
            await self._courier.keep_effects()

    async def _keep_of(self, incoming: Incoming, event: Event) -> None:
        """Keep what a message became, and whose it was."""
        text = write_event(event)
        expires_at = event.expires_at if isinstance(event, Said) else None
        await self._inbox.put(text, expires_at=expires_at)
        if incoming.room is None:
            await self._strangers.mark(incoming.sender, len(text))

    async def keep(self, event: Event) -> None:
        """Keep an event that is not a message."""
        async with self._database.transaction():
            await self._inbox.put(write_event(event))
        self.news.set()

    async def _keep_content(
        self, incoming: Incoming, decrypted: Decrypted, content: Content
    ) -> None:
        """Keep what a message says, and what it says about earlier ones of ours."""
        is_own = incoming.sender.bare == self._own.bare
        room, stanza_id = incoming.room, incoming.stanza_id
        await self._names.note(room, stanza_id, incoming.id, incoming.sender)
        content = await self._names.inward(room, content)
        is_accepted = accepts(decrypted.device.trust)
        if not is_own:
            await self._keep_confirmed(incoming, content, is_accepted=is_accepted)
        source = Said(
            id=incoming.id,
            sender=incoming.sender.bare,
            to=incoming.to or self._own.bare,
            room=incoming.room,
            namespace=decrypted.namespace,
            device=decrypted.device.device_id,
            fingerprint=decrypted.device.fingerprint,
            trust=decrypted.device.trust.word,
            at=incoming.at,
            expires_at=self._timers.begin(content.expires, incoming.at),
        )
        if is_over(source.expires_at):
            return  # whoever comes late does not read it
        event = event_of(
            source, content, is_own=is_own, is_accepted=is_accepted, own=self._own.bare
        )
        if isinstance(event, Typing) and incoming.delayed:
            return  # nobody writes any more
        if event is not None:
            await self._keep_of(incoming, event)
        if is_own and content.received and incoming.to is not None:
            await self._confirmations.settle(incoming.to, content.received)
        # Only the older version has no room for the question inside.
        asks = incoming.asks if decrypted.namespace == OMEMO_OLD else content.asks
        if asks and isinstance(event, Message) and incoming.room is None:
            await self._confirmations.owe(incoming.sender, incoming.id)

    async def _keep_confirmed(
        self, incoming: Incoming, content: Content, *, is_accepted: bool
    ) -> None:
        """Note what becomes of messages of ours, and who says so.

        In a room only what was shown counts, to each member; what arrived, the room
        says itself.
        """
        sender, at = incoming.sender, incoming.at
        if incoming.room is not None:
            if content.displayed and is_accepted:
                await self._shown.take(incoming.room, sender, content.displayed, at)
            return
        for target, state in (
            (content.received, DeliveryState.RECEIVED),
            (content.displayed, DeliveryState.DISPLAYED),
        ):
            if target:
                await self._deliveries.confirm(
                    target, sender, state, authenticated=is_accepted, at=at
                )


def _device_of(step: Step) -> tuple[str, str]:
    """Return what tells the sending devices of a page apart."""
    if step.incoming is None or not step.incoming.encrypted:
        return "", ""
    header = step.incoming.encrypted[0].find("{*}header")
    return step.incoming.sender.bare, "" if header is None else header.get("sid", "")
