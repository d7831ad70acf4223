"""One XMPP session, kept alive: dialed, logged in, resumed, dialed again.

Above it a connection that breaks is a pause. What may happen next stands in the
table of :mod:`xmpp_onion.session.connection`; this module drives it.
"""

import asyncio
import logging
import re
import secrets
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.errors import (
    DuplicateDeviceError,
    InvalidJIDError,
    NotAcknowledgedError,
    SessionError,
    SessionLostError,
    StoreError,
    StreamViolationError,
    XmppOnionError,
)
from xmpp_onion.session.archive import Archive
from xmpp_onion.session.client_xmpp import OnionClient, quieten_library_logs
from xmpp_onion.session.connection import (
    Event,
    State,
    advance,
    as_ours,
    backoff,
    is_fatal,
    is_for_anyone,
    is_tor_away,
)
from xmpp_onion.session.dialing import Dialed, Dialing
from xmpp_onion.session.events import (
    Connected,
    Disconnected,
    Received,
    RoomChanged,
    RosterChange,
    SessionEvent,
    read_request,
)
from xmpp_onion.session.faults import Faults
from xmpp_onion.session.guards import outline_of
from xmpp_onion.session.lanes import NEAR
from xmpp_onion.session.liveness import SILENT, Liveness, Timing
from xmpp_onion.session.login import Attempt, Credentials, Dialer, Login
from xmpp_onion.session.muc import read_room_message, read_room_presence
from xmpp_onion.session.people import People
from xmpp_onion.session.queue import EventQueue, Ticket, size_of
from xmpp_onion.session.remembered import Remembered
from xmpp_onion.session.room_service import RoomService
from xmpp_onion.session.roster import is_push, read_push
from xmpp_onion.session.serialising import serialise
from xmpp_onion.session.stamps import Stamps, ask_price
from xmpp_onion.session.wire import Wire

__all__ = ["Session"]

log = logging.getLogger(__name__)

_MESSAGE: Final = "{jabber:client}message"
_SENDABLE: Final = re.compile(r"<(message|presence)[\s/>]")
# Stanzas are up to 1 MiB long, so their number alone bounds no memory.
_LIMIT_BYTES: Final = 8 * 1024 * 1024
# What others than contacts may have wait, in times of what contacts may: as much as
# one stranger may send at once. Only what was read can be overtaken.
_FAR: Final = 16
_FAR_LIMIT_BYTES: Final = 32 * 1024 * 1024
# With requests under way their answers may stand behind this much, about 8,000
# messages that came while we were away; past that the server has to wait
# whatever happens, and the requests run out of time.
_OVERFLOW_BYTES: Final = 64 * 1024 * 1024
# Logins in a row that a server may end for reasons of its own. One that always does
# may mean what we say first after all, and has to be asked some time.
_SPARED: Final = 3


# The lane of what broke our reader: whose it is, it may not be able to say.
_BROKEN: Final = "set aside"
# What is kept of it takes no more than this, and mostly far less.
_OUTLINE_BYTES: Final = 1024 * 1024


async def forget(known: Remembered) -> None:
    """Keep nothing: the next session begins by asking."""
    del known


async def ask_nothing() -> None:
    """Say nothing behind a login."""


class Session:
    """An account's XMPP session; entering it starts dialing, leaving it says goodbye.

    Args:
        jid: The account.
        password: Never sent: SCRAM proves it.
        tor: What dials; :class:`xmpp_onion.transport.Tor`.
        certificate: SHA-256 in hex of the server's certificate. Empty takes what
            comes first and holds on to it; save :attr:`certificate` then.
        tls: False leaves encryption to the onion service alone, where the server
            lets people in so.
        port: The service's virtual port.
        resource: Names this device at the server: random, and the same each time.
            A process that comes back after a crash then takes its own place
            again, and gets what it had not handled. Empty makes a new one.
        known: What is known of the server from an earlier session.
        remember: Called with what is known now; it holds what lets us log in.
        ask_ahead: Called before each dial; what it sends goes out behind the login,
            in the same flight. If that fails, it is called again.
        timing: How long it waits for what.
        event_limit: Events of contacts that may wait for the reader before the session
            stops reading from the server; of all others 16 times as many.
    """

    def __init__(  # noqa: PLR0913 - facts about an account and its line, by name
        self,
        jid: JID,
        password: str,
        *,
        tor: Dialer,
        certificate: str = "",
        tls: bool = True,
        port: int = 5222,
        resource: str = "",
        known: Remembered | None = None,
        remember: Callable[[Remembered], Awaitable[None]] = forget,
        ask_ahead: Callable[[], Awaitable[None]] = ask_nothing,
        timing: Timing | None = None,
        event_limit: int = 256,
    ) -> None:
        quieten_library_logs()
        self.certificate = certificate.lower()
        self.state = State.OFFLINE
        self.timing = timing or Timing()
        self.xmpp = OnionClient(jid, self._deliver, self._regulate, resource=resource)
        self.archive = Archive(self.xmpp, jid)
        self.people = People(self.xmpp, self.send)
        self.stamps = Stamps(jid.bare, partial(ask_price, self.xmpp))
        self.rooms = RoomService(self.xmpp, self.send)
        self._contacts: frozenset[JID] = frozenset()
        self._account = jid.bare
        self._password = password
        self._tls = tls
        self._dialing = Dialing(tor, jid.bare, port=port, timing=self.timing)
        self._event_limit = event_limit
        self._queue = EventQueue(self._settle, self._regulate)
        self._wire: Wire | None = None
        self._known = known or Remembered()
        self._remember = remember
        self._ask_ahead = ask_ahead
        # Logins that were given up, and may come through after all.
        self._ghosts = 0
        self._warned_of: set[str] = set()
        self.faults = Faults()
        self._spared = 0
        self._paused = False
        self._proved = False
        self._online = asyncio.Event()
        self.losses = 0
        self.stanza_limit: int | None = None
        self._last_error: XmppOnionError | None = None
        self._failure: XmppOnionError | None = None
        self._tasks = asyncio.TaskGroup()
        self._runner: asyncio.Task[None] | None = None

    # --- life -----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._runner = self._tasks.create_task(self._run(), name="xmpp session")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._wire is not None and self.xmpp.online:
                self.xmpp.send_counted("<presence type='unavailable'/>")
                await self._wire.close(grace=self.timing.goodbye)
        finally:
            if self._runner is not None:
                self._runner.cancel()
            # Without the caller's error: it is the caller's, and goes on as it is.
            await self._tasks.__aexit__(None, None, None)

    @property
    def jid(self) -> JID:
        """Our full JID."""
        return JID(self.xmpp.boundjid.full)

    @property
    def is_away(self) -> bool:
        """Whether it is down, and means to come back."""
        return not self._online.is_set() and self.state is not State.CLOSED

    async def wait_online(self, timeout: float | None = None) -> None:
        """Return when the session is up.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            XmppOnionError: The cause of the last failed attempt, when the time is
                over, or at once if no further attempt is made.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._online.wait()
        except TimeoutError:
            raise self._last_error or SessionLostError(
                "the session is not up yet",
                why=f"it did not come up within {timeout:g} seconds",
                fix="Wait longer; a first circuit may take a minute.",
            ) from None
        if self.state is State.CLOSED:
            raise self._failure or SessionLostError(
                "the session was closed",
                why="its `async with` block has ended",
                fix="Enter a new one.",
            )

    async def events(self) -> AsyncIterator[SessionEvent]:
        """Yield what happens, in its order. One reader at a time.

        An event counts as handled when the next is asked for: only then is the
        server told that we have the stanza. If this process dies before, the
        server still has it.

        Raises:
            XmppOnionError: The session has ended for good; the cause.
        """
        while (event := await self._queue.get()) is not None:
            yield event

    # --- the loop -------------------------------------------------------------

    def _move(self, event: Event) -> None:
        self.state = advance(self.state, event)
        log.info("session: %s after %s", self.state.name, event.name)

    async def _run(self) -> None:
        try:
            await self._keep_trying()
        except XmppOnionError as error:
            self._failure = error
            self._move(Event.REFUSED)
        finally:
            if self.state is not State.CLOSED:
                self._move(Event.STOP)
            self._dialing.close()
            self.xmpp.forget_stream()
            self._queue.close(self._failure)
            self._online.set()

    async def _keep_trying(self) -> None:
        """Dial, stay, and dial again; ends only by a fatal error."""
        delays = self._delays()
        self._move(Event.START)
        while True:
            try:
                await self._attempt()
            except (XmppOnionError, OSError, NotConnectedError) as error:
                self._fail(error, as_ours(error))
            except Exception as error:  # noqa: BLE001 - a mistake of ours; see `faults`
                self._fail(error, self.faults.note_end(error))
                self._proved = False
            if self._proved:
                self._proved = False
                self._warned_of.clear()
                self.faults.forget()
                delays = self._delays()  # it worked: start over with short pauses
            self._move(Event.LOST)
            delay = self._pause(delays)
            self._log_pause(delay)
            await asyncio.sleep(delay)
            self._move(Event.RETRY)

    def _log_pause(self, delay: float) -> None:
        """Warn of what is new: an outage of a night must not fill a log or a screen."""
        kind = type(self._last_error).__name__
        level = logging.INFO if kind in self._warned_of else logging.WARNING
        self._warned_of.add(kind)
        log.log(level, "%s; next attempt in %.1f s", self._why(), delay)

    def _fail(self, error: Exception, told: XmppOnionError) -> None:
        """Note why an attempt failed; raise that if there is to be no other."""
        self._last_error = told
        log.info("session: attempt failed (%s)", type(error).__name__)
        if is_fatal(told):
            # An error is not its own cause.
            raise told from (None if told is error else error)

    def _why(self) -> str:
        return "not connected" if self._last_error is None else self._last_error.what

    def _delays(self) -> Iterator[float]:
        timing, jitter = self.timing, secrets.SystemRandom().random
        return backoff(timing.first_retry, timing.longest_retry, jitter)

    def _pause(self, delays: Iterator[float]) -> float:
        if self._last_error is None or not is_tor_away(self._last_error):
            return next(delays)
        timing, jitter = self.timing, secrets.SystemRandom().random
        return min(timing.tor_retry, timing.longest_retry) * jitter()

    async def _attempt(self) -> None:
        """Dial, log in, and stay until the connection ends."""
        who = Credentials(
            self._account, self._password, certificate=self.certificate, tls=self._tls
        )
        await self.xmpp.prepare(self._ask_ahead)
        attempt = Attempt(self.xmpp, who, self._known)
        try:
            dialed = await self._dialing.dial(attempt.first.encode())
            self._move(Event.DIALED)
            await self._go_through(attempt, dialed)
        finally:
            self._ghosts += attempt.is_open

    async def _go_through(self, attempt: Attempt, dialed: Dialed) -> None:
        wire = self._wire = Wire()
        try:
            login = await self._log_in(wire, attempt, dialed)
            self._move(Event.READY)
            await self._stay(wire, login)
        except SessionError:
            if wire.fault is None:
                raise
        finally:
            await wire.close()
            dialed.connection.close()
        if wire.fault is not None:
            raise wire.fault

    async def _log_in(self, wire: Wire, attempt: Attempt, dialed: Dialed) -> Login:
        try:
            async with asyncio.timeout(self.timing.login):
                await wire.attach(dialed.connection)
                login = await attempt.run(wire, was_said=dialed.was_said)
        except SessionError as error:
            if self._is_about_us(wire.stream_error, error):
                # What we know may be what it took offence at.
                await self._learn(self._known.forget())
            raise
        self._spared = 0
        await self._learn(attempt.known)
        self.certificate = self.certificate or login.certificate
        if login.stanza_limit is not None or not login.resumed:
            self.stanza_limit = login.stanza_limit
        return login

    def _is_about_us(self, condition: str, error: SessionError) -> bool:
        """Tell whether a login may have failed for what we said first."""
        if isinstance(error, StreamViolationError):
            return True
        if not is_for_anyone(condition):
            return bool(condition)
        self._spared += 1
        return self._spared > _SPARED

    async def _learn(self, known: Remembered) -> None:
        if known == self._known:
            return
        self._known = known
        try:
            await self._remember(known)
        except StoreError as error:  # the next process asks the server again
            log.warning("what the server offers was not kept (%s)", error.what)

    async def _stay(self, wire: Wire, login: Login) -> None:
        """Let stanzas through until the connection ends."""
        self._paused = False
        if login.resumed:
            self._queue.drop_stanzas()
        self._queue.put(Connected(login.resumed))
        try:
            self.xmpp.go_online(
                wire, resumed=login.resumed, early=login.early, said=login.said
            )
            self._online.set()
            reason = await self._tend(wire, resumed=login.resumed)
        except Exception as fault:  # noqa: BLE001 - raised when all has ended in order
            wire.fault, reason = fault, "our side of it failed"
        finally:
            self._online.clear()
            self.losses += 1
            self.xmpp.go_offline("the connection ended")
        if wire.remains is not None:
            # A stream that is resumed would begin with the same stanza.
            self.archive.break_off(wire.remains)
        if wire.remains is not None or wire.fault is not None:
            self.xmpp.resume_id = ""
        if not self.xmpp.resume_id:
            self.xmpp.forget_stream()
        self._queue.put(Disconnected(reason))
        self._last_error = SessionError("the connection was lost", why=reason)
        if wire.stream_error == "conflict" and self._ghosts:
            # It may be a login of ours that we had given up, and that came through.
            self._ghosts -= 1
        elif wire.stream_error == "conflict":
            raise DuplicateDeviceError(
                "another process has logged in as this device",
                why="two programs use a copy of one account, and one set of keys",
                fix="Stop one of them; to use two machines, add the account on "
                "each, do not copy it.",
            )

    async def _tend(self, wire: Wire, *, resumed: bool) -> str:
        """Run what a connection needs beside it; return why it ended."""
        outgoing = self.xmpp.outgoing
        taken = outgoing.acknowledged
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(self.xmpp.run_filters())]

            def relieve() -> None:
                is_stuck = len(outgoing) > 0 and outgoing.acknowledged == taken
                relief = self._dialing.relieve(wire, is_stuck=is_stuck)
                helpers.append(tasks.create_task(relief))

            liveness = Liveness(
                self.xmpp,
                wire,
                self.timing,
                lambda: self._paused,
                doubt=self._dialing.doubt,
                relieve=relieve,
            )
            watching = liveness.watch(resumed=resumed, proved=self._note_proof)
            helpers.append(tasks.create_task(watching))
            reason = await wire.wait_lost()
            # slixmpp's filters forget what they have in hand when they are
            # cancelled: a request would wait for its answer in vain.
            await self.xmpp.waiting_queue.join()
            for helper in helpers:
                helper.cancel()
        if reason == SILENT:
            self._dialing.change_circuits()
        return reason

    def _note_proof(self) -> None:
        self._proved = True

    # --- in -------------------------------------------------------------------

    def _deliver(self, element: ET.Element, ticket: Ticket | None) -> bool:
        """Queue what the reader has to know; tell whether it was queued."""
        try:
            event, lane = self._event_of(element), self._lane_of(element)
            size_bytes = size_of(element)
        except Exception as fault:  # noqa: BLE001 - anybody can have a stanza sent to us
            self._refuse_state(element, fault)
            self.faults.note_stanza(fault)
            event, lane = self._set_aside(element), _BROKEN
            size_bytes = _OUTLINE_BYTES
        if event is None:
            return False
        self._queue.put(event, ticket, size_bytes, lane=lane)
        return True

    def _refuse_state(self, element: ET.Element, fault: Exception) -> None:
        """Raise ``fault`` if what broke us may have changed a room or our contacts."""
        sender = element.get("from", self._account)
        is_of_rooms = sender.partition("/")[0] in self.rooms.known
        is_said = element.get("type") == "groupchat" and "/" in sender
        is_push_of_ours = is_push(element) and sender == self._account
        if is_push_of_ours or (is_of_rooms and not is_said):
            raise fault

    def _set_aside(self, element: ET.Element) -> SessionEvent | None:
        """Return what tells of a message that broke us; of others nothing is told."""
        if element.tag != _MESSAGE:
            return None
        outline = outline_of(element, "our reader failed at it")
        with suppress(Exception):
            if self.archive.take(outline):
                return None
        return Received(outline)

    def know_contacts(self, contacts: frozenset[JID]) -> None:
        """Let these people, by their bare JIDs, wait for no others from now on."""
        if contacts != self._contacts:
            self._queue.bar()  # who becomes a contact must not overtake himself
            self._contacts = contacts

    def begin_anew(self, fault: Exception) -> None:
        """End the connection for a mistake of ours, made with what it yielded.

        The next one resumes nothing, and all that is known of rooms and contacts is
        read anew.
        """
        if self._wire is not None:
            self._wire.fail(fault)

    def _lane_of(self, element: ET.Element) -> str:
        """Return whose turn a stanza takes, and whose order it keeps.

        Whoever owns a server can make as many accounts on it as he likes, so they
        have one turn together. Those of our own server are people whom it knows.
        """
        try:
            sender = JID(element.get("from", "")).bare
        except InvalidJIDError:
            return NEAR
        own = self._account
        if sender in self.rooms.known:
            return sender
        if sender in self._contacts or sender in {own, own.domain}:
            return NEAR
        return sender if sender.domain == own.domain else sender.domain

    def _event_of(self, element: ET.Element) -> SessionEvent | None:
        if element.tag == _MESSAGE:
            if (
                element.find("{http://jabber.org/protocol/pubsub#event}event")
                is not None
            ):
                return None  # slixmpp's plugins tell those who asked
            if self.archive.take(element) or self.rooms.take_returned(element):
                return None  # whoever asked the archive, or invited, gets it
            said = read_room_message(element, self.rooms.known)
            if said is not None:
                return RoomChanged(said)
            return Received(element)
        if is_push(element):
            contact = read_push(element, self._account)
            return None if contact is None else RosterChange(contact)
        seen = read_room_presence(element, self.rooms.known)
        return read_request(element) if seen is None else RoomChanged(seen)

    def _settle(self, ticket: Ticket) -> None:
        self.xmpp.incoming.settle(ticket)
        if not self._queue:
            self.xmpp.send_ack()  # one for a whole burst

    def _regulate(self) -> None:
        """Stop reading from the server while too much waits; go on below half.

        The reader may need an answer from the server to go on, and that answer
        stands behind all that has come; so while one is due more may wait.
        """
        transport = None if self._wire is None else self._wire.transport
        if transport is None:
            return
        if not self._paused and self._has_too_much(1.0):
            self._paused = True
            transport.pause_reading()
        elif self._paused and not self._has_too_much(0.5):
            self._paused = False
            transport.resume_reading()

    def _has_too_much(self, share: float) -> bool:
        """Tell whether more than a share of what may wait does."""
        queue = self._queue
        if self.xmpp.is_asking:
            return queue.size_bytes > _OVERFLOW_BYTES * share
        limit = self._event_limit * share
        return (
            queue.near.length >= max(limit, 1)
            or queue.near.size_bytes > _LIMIT_BYTES * share
            or queue.far.length >= max(limit * _FAR, 1)
            or queue.far.size_bytes > _FAR_LIMIT_BYTES * share
        )

    # --- out ------------------------------------------------------------------

    def send(self, xml: str | ET.Element, message_id: str) -> asyncio.Future[None]:
        """Send a stanza; what is returned completes when the server has it.

        While the connection is being resumed the stanza waits and then goes out.

        Args:
            xml: A message or a presence, as :mod:`.stanzas` makes it.
            message_id: Its id, for the log of what happened.

        Raises:
            NotAcknowledgedError: (from the awaitable) The session ended before
                the server confirmed it: send the same bytes in the next one.
        """
        text = xml if isinstance(xml, str) else serialise(xml)
        if not _SENDABLE.match(text):
            raise ValueError(f"{message_id}: only messages and presences are sent here")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Not everybody waits; an error that nobody fetches is not worth a log line.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        try:
            self.xmpp.send_counted(text, done)
        except NotConnectedError:
            done.set_exception(
                NotAcknowledgedError(
                    "the message was not sent",
                    why="the session is down",
                    fix="Send it again when the session is back.",
                )
            )
        return done

    def under_way(self) -> frozenset[str]:
        """Return the stanzas that the server has not confirmed, as they were sent."""
        return frozenset(self.xmpp.outgoing.unacknowledged())

    def revise(self, xml: str, better: str) -> None:
        """Send ``better`` in place of a stanza that has to be sent again.

        What went out already is not called back. Where nothing is left to say, a
        stanza has to take its place all the same: both sides count them.
        """
        self.xmpp.outgoing.revise(xml, better or f"<message to='{self._account}'/>")

    def ask_for_copies(self) -> None:
        """Ask our server for copies of what our other devices send and get.

        Nobody waits for the answer: without copies the archive has them, later.

        Source: XEP-0280, section 4.
        """
        if self.xmpp.takes_stanzas:
            request = self.xmpp.make_iq_set(ET.Element("{urn:xmpp:carbons:2}enable"))
            request.send().add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )

    def has_unhandled(self, event: SessionEvent) -> bool:
        """Tell whether ``event`` came and nobody is done with it."""
        return self._queue.holds(event)

    async def announce(self) -> None:
        """Tell our server and contacts that we are there; offline messages follow."""
        self.xmpp.send_presence()
