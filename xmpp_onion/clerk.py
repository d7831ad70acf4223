"""Takes in what comes: each message is decrypted and kept in one transaction.

Live messages and those of the archive take the same way. Whatever cannot be read is
kept as such; nothing that somebody sends may end a client or come back for ever.
"""

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
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
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import OMEMO_OLD, Decrypted, Omemo, accepts, reader_ids, sender_ids
from xmpp_onion.errors import DecryptionError, DeviceListError, XmppOnionError
from xmpp_onion.session import (
    Incoming,
    Notice,
    Session,
    read_content,
    read_waiting,
    write_incoming,
)
from xmpp_onion.store import Cursor, Cursors, Database, Inbox, SetAside, WaitingRow
from xmpp_onion.strangers import Strangers

__all__ = ["NETWORK_PAUSE", "PATIENCE", "Clerk"]

log = logging.getLogger(__name__)

# How often the keys of a sender are asked for before a message is given up.
_FETCH_ATTEMPTS = 3
# Confirmations that may wait to be sent. They help, and nothing depends on them.
_UNCONFIRMED = 1000
# Seconds that a sender's server may take for keys before the message is set aside:
# over Tor, a first connection between two servers takes a few.
PATIENCE = 10.0
# Senders whose keys are asked for at once, out of those who wait.
_SERVED_AT_ONCE = 8
# Seconds until keys are asked for again after the server did not answer.
NETWORK_PAUSE = 1.0


class Clerk:
    """Reads what came and puts it into the inbox, one message at a time.

    Args:
        database: Of the account.
        session: Where it came from; keys of senders are asked for there.
        omemo: Decrypts it.
        courier: Keeps what the ratchet wants from the network.
        deliveries: What is said about messages of ours goes there.
        strangers: Says what is opened of theirs, and what is told.
        own: Our bare JID.

    Attributes:
        news: Set when the inbox has got something; its reader clears it.
        patience: Seconds that a sender's server may take for keys before a message
            is set aside.
        unconfirmed: Messages whose senders want to know that they arrived; whoever
            tells them takes them out. The oldest are forgotten.
    """

    def __init__(
        self,
        database: Database,
        session: Session,
        omemo: Omemo,
        *,
        courier: Courier,
        deliveries: Deliveries,
        strangers: Strangers,
        own: JID,
    ) -> None:
        self.news = deliveries.news
        self._strangers = strangers
        self._deliveries = deliveries
        self._database = database
        self._inbox, self._cursors = Inbox(database), Cursors(database)
        self._session = session
        self._omemo = omemo
        self._courier = courier
        self._own = own
        self.patience = PATIENCE
        self._turn = asyncio.Lock()
        self._room = SetAside(database)
        self._waits = asyncio.Event()
        self.unconfirmed = asyncio.Queue[Message](_UNCONFIRMED)

    async def take_step(self, step: Step) -> None:
        """Take in one step of a backlog: a message, or what the archive has lost."""
        if step.incoming is not None:
            await self.take_in(step.incoming, step.cursor)
            return
        async with self._database.transaction():
            await self._move(step.cursor)
            if step.missing is not None:
                since, until = step.missing
                now = datetime.now(UTC)
                gap = Gap(sender=self._own, since=since, until=until, at=now)
                await self._inbox.add(write_event(gap))
        self.news.set()

    async def _move(self, cursor: Cursor | None) -> None:
        if cursor is not None:
            await self._cursors.move(self._own, cursor)
            # It passes what was not opened, which is to be known after a kill.
            await self._strangers.write_down()

    async def take_in(self, incoming: Incoming, place: Cursor | None) -> None:
        """Decrypt one message and keep what it says, in one transaction.

        Args:
            incoming: The message, live or from the archive.
            place: Where the archive is taken in up to after it, if that is known.
        """
        if self._is_for_others(incoming):
            # A stranger's is passed with the next message that counts.
            if not await self._strangers.is_stranger(incoming.sender):
                await self._note_place(place)
            return
        async with self._turn:
            if not await self._is_opened(incoming):
                await self._pass_over(place)
                return
            if incoming.notice is not None:
                await self._keep_notice(incoming, incoming.notice, place)
            elif not await self._has_share(incoming):
                too_many = DecryptionError("too many strangers write at once")
                await self._keep_unreadable(incoming, place, too_many)
            elif not await self._has_to_wait(incoming, place):
                await self._take(incoming, place)
        self.news.set()

    async def _pass_over(self, place: Cursor | None) -> None:
        """Write down what was only counted, when there is enough of it."""
        if self._strangers.is_due:
            async with self._database.transaction():
                await self._strangers.write_down()
                await self._move(place)

    async def _is_opened(self, incoming: Incoming) -> bool:
        """Tell whether to look into a message; what is known costs nothing."""
        if await self._inbox.is_seen(incoming.key):
            return True
        return await self._strangers.may_open(incoming.sender)

    async def _take(self, incoming: Incoming, place: Cursor | None) -> None:
        """Read a message, or keep that it cannot be read; its keys were asked for."""
        try:
            await self._keep_read(incoming, place)
        except (DecryptionError, DeviceListError) as error:
            log.info("a message could not be read: %s", error.what)
            await self._keep_unreadable(incoming, place, error)
        except (XmppOnionError, OSError, MemoryError):
            raise  # ours to mend; the server still has the message
        except Exception as error:  # noqa: BLE001 - what a library cannot digest would come back with every login
            log.error("a message broke its reader (%s)", type(error).__name__)  # noqa: TRY400 - a traceback may quote the message
            malformed = DecryptionError("it is malformed")
            await self._keep_unreadable(incoming, place, malformed)

    # --- the waiting room -------------------------------------------------------

    async def _has_to_wait(self, incoming: Incoming, place: Cursor | None) -> bool:
        """Set a message aside if its sender's server is silent.

        All of that server wait from then on, so that each sender's order stays, and
        nobody else waits for it. What finds no room is read as it is.
        """
        if not incoming.encrypted or await self._inbox.is_seen(incoming.key):
            return False
        is_silent = _is_among(incoming.sender, await self._room.senders(), self._own)
        if not is_silent and await self._fetch_soon(incoming):
            return False
        row = WaitingRow(
            key=incoming.key,
            sender=incoming.sender.bare,
            stanza_xml=write_incoming(incoming),
            stanza_id=incoming.stanza_id,
            at=incoming.at,
        )
        async with self._database.transaction():
            is_kept = await self._room.add(row)
            if is_kept:
                await self._move(place)
        self.serve_waiting()
        return is_kept

    async def _fetch_soon(self, incoming: Incoming) -> bool:
        """Fetch what a message needs; False if its sender's server is silent."""
        while True:
            await self._session.wait_online()
            losses = self._session.losses
            try:
                async with asyncio.timeout(self.patience):
                    await self._omemo.fetch_sender(incoming.encrypted, incoming.sender)
            except (DeviceListError, TimeoutError):
                if losses == self._session.losses:
                    return False
                # A connection that broke is no reason to let it wait.
                await asyncio.sleep(NETWORK_PAUSE)
            else:
                return True

    def serve_waiting(self) -> None:
        """Look into the waiting room: somebody is there, or the session is new."""
        self._waits.set()

    async def run(self) -> None:
        """Read what was set aside as soon as it can be read, until cancelled."""
        served: set[str] = set()
        places = asyncio.Semaphore(_SERVED_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._waits.wait()
                self._waits.clear()
                for sender in await self._room.senders() - served:
                    served.add(sender)
                    tasks.create_task(self._serve(sender, places, served))

    async def _serve(
        self, sender: str, places: asyncio.Semaphore, served: set[str]
    ) -> None:
        """Read all that waits of one sender, in its order, or give all of it up."""
        failure = None
        async with places:
            while row := await self._room.first(sender):
                incoming = read_waiting(
                    row.stanza_xml, own=self._own, at=row.at, stanza_id=row.stanza_id
                )
                if failure is None and incoming is not None:
                    failure = await self._fetch_sender(incoming)
                async with self._turn:
                    if incoming is not None and failure is not None:
                        await self._keep_unreadable(incoming, None, failure)
                    elif incoming is not None:
                        await self._take(incoming, None)
                    async with self._database.transaction():
                        await self._room.remove(row.key)
                self.news.set()
                self._courier.wake()
        served.discard(sender)
        self.serve_waiting()  # one more may have come a moment ago

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

    async def _note_place(self, place: Cursor | None) -> None:
        if place is not None:
            async with self._database.transaction():
                await self._move(place)

    async def _keep_read(self, incoming: Incoming, place: Cursor | None) -> None:
        event, content = None, Content()
        async with self._database.transaction():
            await self._move(place)
            if await self._inbox.is_seen(incoming.key):
                return
            decrypted = await self._decrypt(incoming)
            await self._inbox.mark_seen(incoming.key)
            if decrypted.plain is not None:
                content = read_content(decrypted.plain.text, decrypted.plain.payload)
                event = await self._keep_content(incoming, decrypted, content)
            await self._courier.keep_effects()
        # Only the older version has no room for the question inside.
        asks = incoming.asks if decrypted.namespace == OMEMO_OLD else content.asks
        if isinstance(event, Message) and asks:
            self._ask_to_confirm(event)

    def _ask_to_confirm(self, message: Message) -> None:
        if self.unconfirmed.full():
            self.unconfirmed.get_nowait()
        self.unconfirmed.put_nowait(message)

    async def _keep_notice(
        self, incoming: Incoming, notice: Notice, place: Cursor | None
    ) -> None:
        """Move the state of a delivery, if who says so may.

        It need not be known a second time: a state only goes forward. And what is
        about no message of ours costs nothing, however much of it comes.
        """
        if await self._deliveries.load(notice.target) is None:
            if not await self._strangers.is_stranger(incoming.sender):
                await self._note_place(place)
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
            async with asyncio.timeout(self.patience), asyncio.TaskGroup() as tasks:
                for step in {_device_of(step): step for step in steps}.values():
                    if step.incoming is not None:
                        tasks.create_task(self._fetch_ahead(step.incoming))

    async def _fetch_ahead(self, incoming: Incoming) -> None:
        """Fetch once; what fails is fetched again when the message is read."""
        if not incoming.encrypted or await self._inbox.is_seen(incoming.key):
            return
        if not await self._has_share(incoming):
            return
        with suppress(DeviceListError):
            await self._omemo.fetch_sender(incoming.encrypted, incoming.sender)

    async def _fetch_sender(self, incoming: Incoming) -> DeviceListError | None:
        """Fetch what a message that waits needs; return why that did not work."""
        attempts = 1  # once it was tried when it came
        while True:
            await self._session.wait_online()
            losses = self._session.losses
            try:
                await self._omemo.fetch_sender(incoming.encrypted, incoming.sender)
            except DeviceListError as error:
                # A connection that broke is no reason to give a message up.
                attempts += losses == self._session.losses
                if attempts == _FETCH_ATTEMPTS:
                    return error
                await asyncio.sleep(NETWORK_PAUSE)
            else:
                return None

    async def _has_share(self, incoming: Incoming) -> bool:
        """Tell whether a message may make us fetch the keys that it needs."""
        sender = incoming.sender
        return (
            not incoming.encrypted
            or not await self._strangers.is_stranger(sender)
            or await self._omemo.is_at_hand(incoming.encrypted, sender)
            or await self._inbox.is_seen(incoming.key)
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
        )

    async def _keep_unreadable(
        self,
        incoming: Incoming,
        place: Cursor | None,
        error: DecryptionError | DeviceListError,
    ) -> None:
        is_known = await self._inbox.is_seen(incoming.key)
        is_told = is_known or await self._strangers.may_tell(incoming.sender)
        if not is_told and await self._strangers.is_stranger(incoming.sender):
            await self._pass_over(place)  # and nobody else's is forgotten for it
            return
        async with self._database.transaction():
            await self._move(place)
            if is_known:
                return
            await self._inbox.mark_seen(incoming.key)
            if is_told:
                unreadable = Undecryptable(
                    id=incoming.id,
                    sender=incoming.sender.bare,
                    reason=error.why or error.what,
                    at=incoming.at,
                )
                await self._keep_of(incoming, unreadable)
            await self._omemo.heal(incoming.encrypted, incoming.sender, error)
            await self._courier.keep_effects()

    async def _keep_of(self, incoming: Incoming, event: Event) -> None:
        """Keep what a message became, and whose it was."""
        text = write_event(event)
        row_id = await self._inbox.add(text)
        await self._strangers.mark(row_id, incoming.sender, len(text))

    async def keep(self, event: Event) -> None:
        """Keep an event that is not a message."""
        async with self._database.transaction():
            await self._inbox.add(write_event(event))
        self.news.set()

    async def _keep_content(
        self, incoming: Incoming, decrypted: Decrypted, content: Content
    ) -> Event | None:
        """Keep what a message says, and what it says about earlier ones of ours."""
        is_own = incoming.sender.bare == self._own.bare
        is_accepted = accepts(decrypted.device.trust)
        for target, state in (
            (content.received, DeliveryState.RECEIVED),
            (content.displayed, DeliveryState.DISPLAYED),
        ):
            if target and not is_own:
                await self._deliveries.confirm(
                    target,
                    incoming.sender,
                    state,
                    authenticated=is_accepted,
                    at=incoming.at,
                )
        source = Said(
            id=incoming.id,
            sender=incoming.sender.bare,
            to=incoming.to or self._own.bare,
            namespace=decrypted.namespace,
            device=decrypted.device.device_id,
            fingerprint=decrypted.device.fingerprint,
            trust=decrypted.device.trust.word,
            at=incoming.at,
        )
        event = event_of(source, content, is_own=is_own, is_accepted=is_accepted)
        if isinstance(event, Typing) and incoming.delayed:
            return None  # nobody writes any more
        if event is not None:
            await self._keep_of(incoming, event)
        return event


def _is_among(sender: JID, waiting: Collection[str], own: JID) -> bool:
    """Tell whether somebody, or another at the same other server, waits already."""
    if sender.bare in waiting or sender.domain == own.domain:
        return sender.bare in waiting
    return sender.domain in {JID(each).domain for each in waiting}


def _device_of(step: Step) -> tuple[str, str]:
    """Return what tells the sending devices of a page apart."""
    if step.incoming is None or not step.incoming.encrypted:
        return "", ""
    header = step.incoming.encrypted[0].find("{*}header")
    return step.incoming.sender.bare, "" if header is None else header.get("sid", "")
