"""The one place where the two ways meet: the XMPP session and OMEMO.

In:   archive, session.events() -> Clerk: e2ee.decrypt -> one inbox row -> InboxReader
Out:  Outgoing: e2ee.encrypt -> one outbox row -> Courier -> the server's ack

Each message takes one transaction (docs/explanation/architecture.md, "the unit of
work"). What it needs from the network is fetched before, what it wants from the
network afterwards is a row; inside the transaction there is no network.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, assert_never

from xmpp_onion import languages, moving
from xmpp_onion.absence import Absence
from xmpp_onion.account import Account, Receipts, parse_recipient
from xmpp_onion.address import JID, Introduction
from xmpp_onion.ahead import Ahead
from xmpp_onion.backlog import Backlog
from xmpp_onion.chat import (
    Event,
    Message,
    RolledBack,
    Said,
    write_event,
)
from xmpp_onion.clerk import Clerk
from xmpp_onion.confirmations import Confirmations
from xmpp_onion.contacts import ANSWER_TIMEOUT, Contacts, RequestBox
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import (
    Device,
    FarWitness,
    Nodes,
    Omemo,
    SlixmppPep,
    Trust,
    TrustLevel,
    TrustUri,
    accepts,
    is_trust_message,
)
from xmpp_onion.errors import (
    DeviceListError,
    SessionError,
    StoreCorruptError,
)
from xmpp_onion.expiry import Expiry
from xmpp_onion.files import Drafts, Journal
from xmpp_onion.hopes import Hopes
from xmpp_onion.notary import Notary
from xmpp_onion.one_error import the_one_error
from xmpp_onion.outgoing import Outgoing
from xmpp_onion.provision import Provision
from xmpp_onion.reader import Claim, InboxReader
from xmpp_onion.room_feed import RoomFeed
from xmpp_onion.room_post import RoomPost
from xmpp_onion.rooms import (
    ROOM_TIMEOUT,
    Invitations,
    Moderations,
    Room,
    RoomJournal,
    Rooms,
    RoomWatch,
    Shown,
    parse_room,
)
from xmpp_onion.session import (
    NO_FAULTS,
    Connected,
    Contact,
    Dialer,
    Disconnected,
    Received,
    RoomChanged,
    RosterChange,
    SaidMoved,
    Session,
    SessionEvent,
    SubscriptionRequest,
    outline_of,
    read_message,
)
from xmpp_onion.session_memory import SessionMemory
from xmpp_onion.sharing import Sharing
from xmpp_onion.speaker import Speaker
from xmpp_onion.store import (
    Attempts,
    Cursors,
    Database,
    Inbox,
    Keys,
    Notes,
    Outbox,
    Tokens,
)
from xmpp_onion.strangers import Strangers
from xmpp_onion.timers import Timers
from xmpp_onion.waiting import NETWORK_PAUSE

__all__ = ["Client"]

log = logging.getLogger(__name__)

# Seconds that entering a client may take: Tor's bootstrap, a circuit, a login.
LOGIN_TIMEOUT = 180.0


class Client(Speaker):
    """One account, logged in through Tor; everything it sends is encrypted.

    Use it as an async context manager: inside, it is logged in and able to
    encrypt. A lost connection mends itself and shows as a pause.

    Args:
        account: Who we are.
        tor: An entered ``Tor``; the only way out.
        trust: What to do about devices that nobody decided about; the account's
            own choice by default.
        login_timeout: Seconds that entering may take, and as many for each page of
            what came while we were away; None waits for ever.

    Raises:
        StoreLockedError: Another process holds the account.
        AuthenticationError: The server refused us. Do not retry.
        TorError: The server could not be reached in time.
    """

    def __init__(
        self,
        account: Account,
        *,
        tor: Dialer,
        trust: Trust | None = None,
        login_timeout: float | None = LOGIN_TIMEOUT,
    ) -> None:
        self.account = account
        self.trust = trust or account.trust
        self._tor = tor
        account.introduce_to(tor)
        self._login_timeout = login_timeout
        self._stack = AsyncExitStack()
        self._ready = asyncio.Event()
        self._patience: asyncio.Timeout | None = None
        self._connects = 0
        self._connected = asyncio.Event()

    # --- life -------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        with the_one_error():
            async with AsyncExitStack() as stack:
                await self._open(stack)
                self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with the_one_error(error):
            await self._stack.__aexit__(kind, error, traceback)

    async def _open(self, stack: AsyncExitStack) -> None:
        deadline = _deadline(self._login_timeout)
        self._ready.clear()
        keys = await self._open_store(stack)
        await self._make_session(keys)
        await self._make_people_and_rooms()
        attempts = await stack.enter_async_context(Attempts(self._database, keys))
        self._make_way_in(attempts)
        self._make_way_out()
        await self._begin(stack)
        await self._until_ready(deadline)

    async def _open_store(self, stack: AsyncExitStack) -> Keys:
        account = self.account
        opening = Database.open(
            account.store_path,
            key=account.store_key,
            create=not account.device,
            witness=account.state_folder,
        )
        self._database = await stack.enter_async_context(opening)
        self._inbox, self._outbox = Inbox(self._database), Outbox(self._database)
        self._cursors = Cursors(self._database)
        return Keys(self._database)

    async def _make_session(self, keys: Keys) -> None:
        """Make what talks to the server, and what knows keys."""
        account = self.account
        memory = SessionMemory(self._database, keys)
        self._session = Session(
            account.jid,
            account.password,
            tor=self._tor,
            certificate=account.certificate,
            tls=account.tls,
            port=account.port,
            resource=await memory.resource(),
            known=await memory.known(account.offered),
            remember=memory.remember,
            ask_ahead=self._ask_ahead,
        )
        uploads = Journal(self._database, keys)
        self._drafts = Drafts(self._database, keys)
        self._sharing = Sharing(
            self._session, self._tor, account.jid, uploads, drafts=self._drafts
        )
        self._pep = SlixmppPep(self._session.xmpp)
        self._omemo = Omemo(
            account.jid,
            keys,
            self._pep,
            policy=self.trust,
            pins=account.pins,
            automatic_trust=account.automatic_trust,
            is_contact=lambda jid: jid in self._contacts.people,
            former=account.former,
            languages=languages.preferred(),
        )
        nodes = Nodes(self._session.xmpp)
        self._far_witness = FarWitness(self._database, keys, nodes)

    async def _make_people_and_rooms(self) -> None:
        own = self.account.jid
        self._deliveries = Deliveries(self._database)
        self._timers = Timers(self._database)
        news = self._deliveries.news
        self._shown = Shown(self._database, news=news)
        self._contacts = Contacts(self._database, self._session, own=own, news=news)
        self._moves = moving.ContactMoves(
            self._database, self._contacts.table, news=news
        )
        self._journal = RoomJournal(self._database, news=news)
        self.rooms = Rooms(
            self._session,
            self._journal,
            invitations=Invitations(
                self._database, self._contacts.table.is_contact, own=own, news=news
            ),
            own=own,
        )
        self._moderations = Moderations(
            self._database, self._session, self.rooms, news=news
        )
        await self.rooms.load()

    def _make_way_in(self, attempts: Attempts) -> None:
        """Make what takes in what comes, and the courier, which it gives work."""
        own = self.account.jid
        hopes = Hopes(self._database, self._outbox, self._session, self._omemo)
        self._courier = Courier(
            self._database,
            self._outbox,
            self._session,
            self._omemo,
            deliveries=self._deliveries,
            watch=RoomWatch(self._database, self.rooms, self._deliveries, own=own),
            hopes=hopes,
        )
        self._strangers = Strangers(
            self._database,
            contacts=self._contacts.table,
            own=own,
            news=self._deliveries.news,
        )
        self._confirmations = Confirmations(self._database, self._may_know, self._ready)
        self._clerk = Clerk(
            self._database,
            self._session,
            self._omemo,
            courier=self._courier,
            deliveries=self._deliveries,
            strangers=self._strangers,
            confirmations=self._confirmations,
            rooms=self.rooms,
            moderations=self._moderations,
            attempts=attempts,
            timers=self._timers,
            own=own,
        )
        self._feed = RoomFeed(
            self.rooms, self._clerk, self._open_archive, self._omemo.fetch
        )
        self._inbox_reader = InboxReader(
            self._database, self._omemo, self._courier, self._deliveries.news
        )
        self.notary = Notary(self._database, self._omemo, self._courier, own)
        self._omemo.notices.watch(self._clerk.news.set)
        backlog = Backlog(self._session, self._cursors, own)
        self._absence = Absence(
            self._database,
            self._omemo,
            self._courier,
            clerk=self._clerk,
            backlog=backlog,
            get_on=self._be_patient,
        )
        self._ahead = Ahead(
            self._session,
            hopes=hopes,
            backlog=backlog,
            contacts=self._contacts,
            pep=self._pep,
            witness=self._far_witness,
        )

    def _make_way_out(self) -> None:
        provision = Provision(self._database, self._session, self._omemo)
        self._outgoing = Outgoing(
            self._database,
            self._omemo,
            courier=self._courier,
            deliveries=self._deliveries,
            confirmations=self._confirmations,
            post=RoomPost(
                self._database,
                self._session,
                self._omemo,
                self.rooms,
                courier=self._courier,
                deliveries=self._deliveries,
                timers=self._timers,
                provision=provision,
            ),
            timers=self._timers,
            provision=provision,
        )

    async def _begin(self, stack: AsyncExitStack) -> None:
        """Connect, and let everything run that runs beside; the stack ends it."""
        await stack.enter_async_context(self._session)
        tasks = self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(self._absence.stop)
        for work in (
            self._receive(),
            self._clerk.room.run(),
            self._courier.run(),
            self._contacts.run(),
            self.rooms.run(),
            self._feed.run(),
            self._journal.run(),
            self._confirmations.run(self._outgoing.confirm),
            self._strangers.run(),
            Expiry(self._database, self._courier, self._timers).run(),
            self._drafts.run(),
            self._far_witness.run(),
        ):
            stack.callback(tasks.create_task(work).cancel)
        stack.push_async_callback(self._far_witness.close)
        stack.push_async_callback(self._courier.hand_over)

    async def _until_ready(self, deadline: float | None) -> None:
        async with moving.noted(self._database, self.jid, self._clerk.news):
            await self._session.wait_online(self._login_timeout)
        try:
            async with asyncio.timeout_at(deadline) as self._patience:
                await self._ready.wait()
        except TimeoutError:
            raise SessionError(
                "the login did not finish",
                why="our keys could not be published, or the archive read, in time",
                fix="Try again: it goes on where it was. See `xmpp-onion doctor`.",
            ) from None
        finally:
            self._patience = None

    async def _ask_ahead(self) -> None:
        await self._ahead.ask()

    async def _start_session(self) -> None:
        """Make a fresh session ours: keys, what we missed, then let the world see us.

        Until the world sees us, what comes waits in the archive: it is read in its
        order, and the server sends nothing that would have to wait in memory.
        """
        self._absence.begin()
        self.rooms.begin_anew()
        self._feed.look()
        await self._ahead.ensure()
        async with asyncio.TaskGroup() as flight:
            flight.create_task(self._far_witness.ask())
            await self._prepare_keys()
        self._check_device()
        async with self._database.transaction():
            if self._database.progress.is_rolled_back:
                await self._start_over()
            await self._courier.review()
            await self._courier.keep_effects()
        known = replace(
            self.account,
            certificate=self.account.certificate or self._session.certificate,
            device=self._omemo.fingerprint,
        )
        if known != self.account:
            self.account = known
            # A pin that another process wrote meanwhile stays.
            known.update(
                lambda now: replace(
                    now, certificate=known.certificate, device=known.device
                )
            )
        await self._contacts.take_roster()
        await self._absence.read()
        await self._session.announce()
        self._ready.set()
        self.rooms.enter_all()
        self._far_witness.tell()
        self._absence.settle(self._tasks)

    def _check_device(self) -> None:
        """Refuse keys that make another device: a rotten bit, or another's store."""
        if self.account.device not in {"", self._omemo.fingerprint}:
            path = self.account.store_path
            raise StoreCorruptError(
                f"{path} does not belong to this account",
                why="its keys make another device than the one that was published",
                fix="It was left as it is: restore the file from a backup",
            )

    async def _start_over(self) -> None:
        """Use no key again that an old copy of the store brought back; say so."""
        await self._omemo.retire_sessions()
        await self._database.accept_rollback()
        noticed = RolledBack(sender=self.jid, at=datetime.now(UTC))
        await self._inbox.put(write_event(noticed))
        self._clerk.news.set()

    async def _prepare_keys(self) -> None:
        """Prepare encryption; a connection that breaks meanwhile is a pause."""
        while True:
            try:
                await self._omemo.prepare(self._database)
            except DeviceListError as error:
                log.info("our keys have to wait: %s", error.why or error.what)
                await asyncio.sleep(NETWORK_PAUSE)
                await self._session.wait_online()
            else:
                return

    def _may_know(self, sender: JID) -> bool:
        """Tell whether somebody may know that their message arrived."""
        wants_to_tell = self.account.receipts is Receipts.CONTACTS
        return wants_to_tell and self._is_friend(sender)

    def _is_friend(self, jid: JID) -> bool:
        return jid in self._session.xmpp.gate.friends

    # --- in ---------------------------------------------------------------------

    async def _receive(self) -> None:
        """Take in what the session yields, in its order, until it ends."""
        async with moving.noted(self._database, self.jid, self._clerk.news):
            async for event in self._session.events():
                await self._take_in(event)

    async def _take_in(self, event: SessionEvent) -> None:
        """Take in one event; a mistake of ours ends no client. See `Faults`."""
        try:
            await self._take(event)
        except NO_FAULTS:
            raise  # ours to mend; the server still has it
        except Exception as fault:
            match event:
                case Connected() | Disconnected():
                    raise
                case RoomChanged() | RosterChange():
                    self._session.begin_anew(fault)
                case _:
                    self._session.faults.note_stanza(fault)
                    await self._tell_broken(event)

    async def _tell_broken(self, event: SessionEvent) -> None:
        """Tell that a message could not be read, if so much of it can."""
        if isinstance(event, Received):
            outline = outline_of(event.element, "our reader failed at it")
            try:
                await self._take_message(replace(event, element=outline))
            except NO_FAULTS:
                raise
            except Exception as fault:  # noqa: BLE001 - nothing of it can be told
                self._session.faults.note_stanza(fault)

    async def _take(self, event: SessionEvent) -> None:
        match event:
            case Connected(resumed):
                if not resumed or not self._ready.is_set():
                    await self._start_session()
                self._courier.open()
                self._connects += 1
                self._connected.set()
            case Disconnected():
                self._courier.hold()
            case SubscriptionRequest(sender):
                await self._contacts.take_request(sender)
            case SaidMoved(sender, document):
                await self._moves.hear(sender, document)
            case RosterChange(contact):
                await self._contacts.take_push(contact)
            case RoomChanged(news):
                await self.rooms.take(news)
                self._feed.look()
            case Received():
                await self._take_message(event)
            case _:
                assert_never(event)

    async def _take_message(self, event: Received) -> None:
        if await self._feed.take(event.element):
            return
        incoming = read_message(event.element, own=self.account.jid)
        if incoming is None:
            return
        if incoming.notice is not None and incoming.notice.moved:
            await self._moves.hear(incoming.sender, incoming.notice.moved)
        await self._absence.wait_for_older(incoming)
        place = None if event.is_early else self._absence.place_of(incoming)
        await self._clerk.take_in(incoming, place)

    def _open_archive(self, room: JID) -> Backlog:
        return Backlog(self._session, self._cursors, self.account.jid, room)

    def _be_patient(self) -> None:
        """Start the time of a login anew: it gets on."""
        deadline = _deadline(self._login_timeout)
        if self._patience is not None and deadline is not None:
            with suppress(RuntimeError):  # it is over already
                self._patience.reschedule(deadline)

    # --- what the caller sees ---------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens, in the order it came, until it was handled.

        An event counts as handled when the next one is asked for: if the process
        dies in between, or the loop is left, it is yielded again. One reader at a
        time; a new one takes the place of one that is not waiting.

        Raises:
            RuntimeError: Somebody else is reading.
        """
        async with aclosing(
            self._inbox_reader.events(self.send, self._sharing.save)
        ) as events:
            async for event in events:
                yield event

    async def claims(self) -> AsyncGenerator[Claim, None]:
        """Yield what happens without waiting until it was handled.

        Each has to be said to be handled: ``await claim.handled()``. What was not is
        yielded again by the next process. One reader at a time, as of ``events()``.

        Raises:
            RuntimeError: Somebody else is reading.
        """
        async with aclosing(
            self._inbox_reader.claims(self.send, self._sharing.save)
        ) as claims:
            async for claim in claims:
                yield claim

    async def messages(self) -> AsyncIterator[Message]:
        """Yield decrypted messages as ``events()`` does; other events are passed by."""
        async for event in self.events():
            if isinstance(event, Message):
                yield event

    # --- the connection ---------------------------------------------------------

    @property
    def is_away(self) -> bool:
        """Whether the connection is known to be down, and is being made anew."""
        return self._session.is_away

    async def connections(self) -> AsyncIterator[None]:
        """Yield each time that the connection is there: first if it is now."""
        seen = 0
        while True:
            while self._connects == seen or self.is_away:
                self._connected.clear()
                await self._connected.wait()
            seen = self._connects
            yield

    async def ping(self, timeout: float = ANSWER_TIMEOUT) -> None:
        """Ask the server something (XEP-0199).

        Raises:
            SessionError: No connection, or no answer, in time.
        """
        await self._session.people.ping(timeout)

    # --- keys -------------------------------------------------------------------

    @property
    def notes(self) -> Notes:
        """What a program wants to know after a restart."""
        return Notes(self._database)

    @property
    def tokens(self) -> Tokens:
        """What other users of this machine may have sent."""
        return Tokens(self._database)

    async def queued(self) -> int:
        """Return how many stanzas wait for the server's ack."""
        return await self._outbox.count()

    @property
    def tor(self) -> Dialer:
        """The only way out."""
        return self._tor

    @property
    def jid(self) -> JID:
        """Our bare JID."""
        return self.account.jid

    @property
    def fingerprint(self) -> str:
        """Of this device: 64 hex digits, to compare over another channel."""
        return self._omemo.fingerprint

    @property
    def device_id(self) -> int:
        """The number of this device in the account's list."""
        return self._omemo.device_id

    async def devices(self, jid: str = "") -> tuple[Device, ...]:
        """Return the devices of somebody, or of ourselves, as published.

        What a server has promised to tell is not asked for: a change is seen a moment
        after it was made.

        Args:
            jid: Whose; our own if empty.

        Raises:
            DeviceListError: The list could not be had.
        """
        return await self.notary.devices(parse_recipient(jid or self.jid))

    async def verify(self, jid: str, fingerprint: str) -> Device:
        """Trust a device whose fingerprint was compared with its owner.

        Who had the key, or another key for that device, loses it.

        Raises:
            EncryptionError: The account has no such device.
            FingerprintMismatchError: The key is ours, or verified as another's.
        """
        owner = parse_recipient(jid)
        return await self.notary.decide(owner, fingerprint, TrustLevel.TRUSTED)

    async def verify_uri(self, uri: str) -> tuple[Device, ...]:
        """Trust exactly the devices that a scanned ``xmpp:…?omemo-sid-…`` URI names.

        A trust message URI, ``xmpp:…?trust-message;…``, names keys to trust and to
        distrust.

        Raises:
            AddressError: It is no such URI.
            FingerprintMismatchError: It contradicts what was verified; nothing
                changed.
        """
        if is_trust_message(uri):
            return await self.notary.scan_words(uri)
        return await self.notary.scan(TrustUri.parse(uri))

    async def distrust(self, jid: str, fingerprint: str) -> Device:
        """Never encrypt for a device again, and believe nothing it says."""
        owner = parse_recipient(jid)
        return await self.notary.decide(owner, fingerprint, TrustLevel.DISTRUSTED)

    async def set_policy(self, jid: str, policy: Trust | None) -> Trust:
        """Give a contact a trust policy of its own; None for the account's again.

        Returns:
            What holds for the contact then.

        Raises:
            EncryptionError: It is our own account: new devices of it have to be
                confirmed, whatever the policy.
        """
        return await self.notary.set_policy(parse_recipient(jid), policy)

    def accepts(self, message: Said) -> bool:
        """Tell whether the policy lets the device behind ``message`` give orders."""
        return accepts(TrustLevel.from_word(message.trust))

    # --- rooms ------------------------------------------------------------------

    def room(self, jid: str) -> Room:
        """Return a room by its address, whether or not we are in it."""
        return Room(
            self.rooms, parse_room(jid), voice=self, moderations=self._moderations
        )

    async def join(
        self, jid: str, nick: str = "", *, timeout: float = ROOM_TIMEOUT
    ) -> Room:
        """Enter a room, and stay in it, after restarts too, until we leave it.

        Args:
            jid: The room.
            nick: Our name there; by default that of our account.
            timeout: Seconds for a connection, and for the room to let us in.

        Raises:
            RoomError: It refused.
            SessionError: No connection, or no answer, in time.
        """
        room = self.room(jid)
        await self.rooms.join(room.jid, nick, timeout)
        await self._feed.until_read(room.jid)
        return room

    async def settle_rooms(self, *, timeout: float = ROOM_TIMEOUT) -> None:
        """Wait until all our rooms are read up to now, or do not let us in.

        Args:
            timeout: Seconds; who does not answer until then is not waited for.
        """
        await self._feed.settle(timeout)

    async def create_room(
        self, jid: str, nick: str = "", *, timeout: float = ROOM_TIMEOUT
    ) -> Room:
        """Make a room: members only, not anonymous, lasting, archived, not listed.

        All of that is read back: a room that is not so is destroyed again.

        Raises:
            RoomError: There is one of this name, or the server does not make it so.
            SessionError: As :meth:`join`.
        """
        room = self.room(jid)
        await self.rooms.create(room.jid, nick, timeout)
        await self._feed.until_read(room.jid)
        return room

    # --- people -----------------------------------------------------------------

    async def contacts(self, timeout: float = ANSWER_TIMEOUT) -> tuple[Contact, ...]:
        """Return the people on our contact list, as the server has it.

        Args:
            timeout: Seconds to wait for a connection, and for the answer; in all
                that follow, too.

        Raises:
            SessionError: No connection, or no answer, in time.
        """
        return await self._contacts.list(timeout)

    async def requests(self) -> RequestBox:
        """Return who asked to be a contact and waits; needs no connection."""
        return await self._contacts.requests()

    async def add_contact(self, jid: str, timeout: float = ANSWER_TIMEOUT) -> None:
        """Ask somebody to be a contact, and let them see us.

        Args:
            jid: Who it is, or an `Introduction`: then they are not asked.
            timeout: Seconds to wait for a connection, and for the answer.
        """
        if "?" in jid:  # no JID has one before its resource
            shown = Introduction(jid)
            await self._contacts.add(shown.jid, timeout, token=shown.token)
        else:
            await self._contacts.add(parse_recipient(jid), timeout)

    async def accept_contact(self, jid: str, timeout: float = ANSWER_TIMEOUT) -> None:
        """Accept a contact request, and ask back.

        Raises:
            AddressError: No request of theirs waits; :meth:`add_contact` asks them.
        """
        await self._contacts.accept(parse_recipient(jid), timeout)

    async def refuse_contact(self, jid: str, timeout: float = ANSWER_TIMEOUT) -> None:
        """Refuse a contact request, or do not let a contact see us any more."""
        await self._contacts.refuse(parse_recipient(jid), timeout)

    async def remove_contact(self, jid: str, timeout: float = ANSWER_TIMEOUT) -> None:
        """Take somebody off our contact list: neither sees the other any more."""
        await self._contacts.remove(parse_recipient(jid), timeout)

    async def block(self, jid: str, timeout: float = ANSWER_TIMEOUT) -> None:
        """Have our server drop all that comes from an account, or a whole server.

        Args:
            jid: ``name@….onion``, or ``….onion`` for everybody there.
            timeout: As in :meth:`contacts`.
        """
        await self._contacts.block(JID(jid).bare, timeout)

    async def unblock(self, jid: str, timeout: float = ANSWER_TIMEOUT) -> None:
        """Let an account, or a server, reach us again."""
        await self._contacts.unblock(JID(jid).bare, timeout)

    async def blocked(self, timeout: float = ANSWER_TIMEOUT) -> tuple[JID, ...]:
        """Return who is blocked; a JID without a name is a whole server."""
        return await self._contacts.blocked(timeout)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else asyncio.get_running_loop().time() + timeout
