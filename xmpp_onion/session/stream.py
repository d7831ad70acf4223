"""One XMPP session, kept alive: dialed, logged in, resumed, dialed again.

Above it a connection that breaks is a pause. What may happen next stands in the
table of :mod:`xmpp_onion.session.connection`; this module drives it.
"""

import asyncio
import logging
import re
import secrets
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Iq, Message
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.errors import (
    InvalidJIDError,
    NotAcknowledgedError,
    SessionError,
    SessionLostError,
    XmppOnionError,
)
from xmpp_onion.session.client_xmpp import OnionClient, quieten_library_logs
from xmpp_onion.session.connection import Event, State, advance, backoff, is_fatal
from xmpp_onion.session.events import (
    Connected,
    Disconnected,
    Received,
    SessionEvent,
    SubscriptionRequest,
)
from xmpp_onion.session.login import Credentials, Dialer, log_in
from xmpp_onion.session.queue import EventQueue
from xmpp_onion.session.stanzas import (
    Contact,
    presence_stanza,
    read_roster,
    serialise,
)
from xmpp_onion.transport import Isolation, Purpose

__all__ = ["Session", "Timing"]

log = logging.getLogger(__name__)

_MESSAGE: Final = "{jabber:client}message"
_PRESENCE: Final = "{jabber:client}presence"
_SENDABLE: Final = re.compile(r"<(message|presence)[\s/>]")
# With requests under way their answers may stand behind this many times the
# limit of events; past that the server has to wait whatever happens.
_OVERFLOW: Final = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a session waits for what, in seconds.

    Args:
        dial: One dial, circuit building included.
        login: From the connection to the session; eight round trips.
        idle: With nothing else to do the server is asked for a sign of life after
            this time, give or take a fifth: accounts must not beat in step.
        silence: A server that is asked and says nothing at all so long is gone.
        resumed_silence: The same right after a stream was resumed. Shorter,
            because Prosody 0.12 may resume a stream that it no longer reads.
        answer: A server that talks, and does not answer, is gone after this.
        goodbye: Given to the server to close its side.
        first_retry: The longest first pause between two attempts.
        longest_retry: No pause is longer.
    """

    dial: float = 60.0
    login: float = 90.0
    idle: float = 75.0
    silence: float = 45.0
    resumed_silence: float = 20.0
    answer: float = 300.0
    goodbye: float = 3.0
    first_retry: float = 2.0
    longest_retry: float = 300.0


class Session:
    """An account's XMPP session; entering it starts dialing, leaving it says goodbye.

    Args:
        jid: The account.
        password: Never sent: SCRAM proves it.
        tor: What dials; :class:`xmpp_onion.transport.Tor`.
        certificate: SHA-256 in hex of the server's certificate. Empty takes what
            comes first and holds on to it; save :attr:`certificate` then.
        tls: False leaves encryption to the onion service alone.
        port: The service's virtual port.
        event_limit: Events that may wait for the reader before the session stops
            reading from the server.
        timing: How long it waits for what.
    """

    def __init__(
        self,
        jid: JID,
        password: str,
        *,
        tor: Dialer,
        certificate: str = "",
        tls: bool = True,
        port: int = 5222,
        event_limit: int = 256,
        timing: Timing | None = None,
    ) -> None:
        quieten_library_logs()
        self.certificate = certificate.lower()
        self.state = State.OFFLINE
        self.timing = timing or Timing()
        self.xmpp = OnionClient(jid, self._deliver)
        self._account = jid.bare
        self._password = password
        self._tor = tor
        self._tls = tls
        self._port = port
        self._event_limit = event_limit
        self._queue = EventQueue(self._settle, self._regulate)
        self._paused = False
        self._online = asyncio.Event()
        self._last_error: Exception | None = None
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
            if self.state is State.ONLINE:
                self.xmpp.send_counted("<presence type='unavailable'/>")
                await self.xmpp.close(grace=self.timing.goodbye)
        finally:
            if self._runner is not None:
                self._runner.cancel()
            # Without the caller's error: it is the caller's, and goes on as it is.
            await self._tasks.__aexit__(None, None, None)

    @property
    def jid(self) -> JID:
        """Our full JID; its resource is random and new with each session."""
        return JID(self.xmpp.boundjid.full)

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
                why=f"it did not come up within {timeout} seconds",
                fix="Wait longer; a first circuit may take a minute.",
            ) from None
        if self._failure is not None:
            raise self._failure

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
            await self._run_attempts()
        finally:
            if self.state is not State.CLOSED:
                self._move(Event.STOP)
            await self.xmpp.close(grace=0.0)
            self.xmpp.forget_stream()
            self._queue.close(self._failure)
            self._online.set()

    async def _run_attempts(self) -> None:
        delays = self._delays()
        self._move(Event.START)
        while True:
            try:
                reason = await self._attempt()
                self._queue.put(Disconnected(reason))
                if self.xmpp.acknowledged.is_set():
                    delays = self._delays()  # it worked: start over with short pauses
            except (XmppOnionError, OSError, TimeoutError, NotConnectedError) as error:
                self._note_failure(error)
                if self._failure is not None:
                    return
            self._move(Event.LOST)
            delay = next(delays)
            log.info("session: next attempt in %.1f s", delay)
            await asyncio.sleep(delay)
            self._move(Event.RETRY)

    def _delays(self) -> Iterator[float]:
        return backoff(
            self.timing.first_retry,
            self.timing.longest_retry,
            secrets.SystemRandom().random,
        )

    async def _attempt(self) -> str:
        """Dial, log in and stay; return why the connection ended."""
        isolation = Isolation(self._account, Purpose.XMPP)
        sock = await self._tor.dial(
            self._account.domain,
            self._port,
            isolation=isolation,
            timeout=self.timing.dial,
        )
        self._move(Event.DIALED)
        try:
            async with asyncio.timeout(self.timing.login):
                await self.xmpp.attach(sock)
                login = await log_in(self.xmpp, self._credentials())
        except BaseException:
            await self.xmpp.close(grace=0.0)
            sock.close()
            raise
        self.certificate = self.certificate or login.certificate
        self._move(Event.READY)
        return await self._stay(resumed=login.resumed, early=login.early)

    def _credentials(self) -> Credentials:
        return Credentials(
            self._account, self._password, certificate=self.certificate, tls=self._tls
        )

    async def _stay(self, *, resumed: bool, early: list[ET.Element]) -> str:
        if resumed:
            self._queue.drop_stanzas()
        self._queue.put(Connected(resumed))
        self.xmpp.go_online(resumed=resumed, early=early)
        self._last_error = None
        self._online.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self.xmpp.run_filters()),
                    tasks.create_task(self._watch(resumed=resumed)),
                ]
                reason = await self.xmpp.wait_lost()
                for helper in helpers:
                    helper.cancel()
        finally:
            self._online.clear()
        if not self.xmpp.resume_id:
            self.xmpp.forget_stream()
        return reason

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, TimeoutError) or not isinstance(error, XmppOnionError):
            error = SessionError(
                "the login did not finish",
                why=f"{type(error).__name__} after the connection was made",
                fix="It is tried again by itself.",
            )
        self._last_error = error
        log.info("session: attempt failed (%s)", type(error).__name__)
        if is_fatal(error):
            self._failure = error
            self._move(Event.REFUSED)

    # --- is the server still there? -------------------------------------------

    async def _watch(self, *, resumed: bool) -> None:
        """Ask the server for a sign of life now and then; cut a dead connection."""
        if not await self._is_answered(
            self.timing.resumed_silence if resumed else self.timing.silence
        ):
            if resumed:
                # It may have resumed a stream that it does not read: log in afresh.
                self.xmpp.resume_id = ""
            self.xmpp.drop("the server does not answer")
            return
        jitter = secrets.SystemRandom()
        while True:
            pause = self.timing.idle * jitter.uniform(0.8, 1.2)
            try:
                async with asyncio.timeout(pause):
                    await self.xmpp.ack_requested.wait()
            except TimeoutError:
                self.xmpp.ask_for_ack()
            if not await self._is_answered(self.timing.silence):
                self.xmpp.drop("the server does not answer")
                return

    async def _is_answered(self, silence: float) -> bool:
        """Wait for an ack; False if it does not come though it could."""
        clock = asyncio.get_running_loop().time
        start = clock()
        while not self.xmpp.acknowledged.is_set():
            heard = max(self.xmpp.last_heard, start)
            left = min(heard + silence, start + self.timing.answer) - clock()
            if self._paused:
                start, left = clock(), silence  # we do not listen: it may well answer
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(left):
                    await self.xmpp.acknowledged.wait()
            except TimeoutError:
                continue
        return True

    # --- in -------------------------------------------------------------------

    def _deliver(self, element: ET.Element, ticket: tuple[int, int]) -> bool:
        """Queue what the reader has to know; tell whether it was queued."""
        event = self._event_of(element)
        if event is None:
            return False
        self._queue.put(event, ticket)
        return True

    def _event_of(self, element: ET.Element) -> SessionEvent | None:
        if element.tag == _MESSAGE:
            if (
                element.find("{http://jabber.org/protocol/pubsub#event}event")
                is not None
            ):
                return None  # slixmpp's plugins tell those who asked
            return Received(Message(self.xmpp, xml=element))
        if element.tag == _PRESENCE and element.get("type") == "subscribe":
            try:
                return SubscriptionRequest(JID(element.get("from", "")).bare)
            except InvalidJIDError:
                return None
        return None

    def _settle(self, ticket: tuple[int, int]) -> None:
        self.xmpp.incoming.settle(ticket)
        if not self._queue:
            self.xmpp.send_ack()  # one for a whole burst

    def _regulate(self) -> None:
        """Stop reading from the server while too much waits; go on below half."""
        transport = self.xmpp.transport
        waiting = len(self._queue)
        limit = self._event_limit * (_OVERFLOW if self.xmpp.is_asking else 1)
        if transport is None:
            self._paused = False
        elif not self._paused and waiting >= limit:
            self._paused = True
            transport.pause_reading()
        elif self._paused and waiting <= limit // 2:
            self._paused = False
            transport.resume_reading()

    # --- out ------------------------------------------------------------------

    def send(self, xml: str | ET.Element, message_id: str) -> Awaitable[None]:
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

    async def announce(self) -> None:
        """Tell our server and contacts that we are there; offline messages follow."""
        self.xmpp.send_presence()

    # --- people ---------------------------------------------------------------

    async def roster(self) -> tuple[Contact, ...]:
        """Return the contact list as the server has it.

        Raises:
            SessionError: The server did not answer.
        """
        request = self.xmpp.make_iq_get("jabber:iq:roster")
        answer = await self._request(request)
        return tuple(read_roster(answer.xml.find("{jabber:iq:roster}query")))

    async def subscribe(self, jid: JID) -> None:
        """Ask somebody to be a contact, and let them see us when they agree."""
        # RFC 6121, section 3.4: their own request is then approved already.
        await self._about(jid, "subscribed")
        await self._about(jid, "subscribe")

    async def accept(self, jid: JID) -> None:
        """Let somebody who asked see us, and ask to see them."""
        await self._about(jid, "subscribed")
        await self._about(jid, "subscribe")

    async def refuse(self, jid: JID) -> None:
        """Do not let somebody see us; they are told."""
        await self._about(jid, "unsubscribed")

    async def remove(self, jid: JID) -> None:
        """Take somebody off the contact list, both ways."""
        request = self.xmpp.make_iq_set()
        request["roster"]["items"] = {jid.bare: {"subscription": "remove"}}
        await self._request(request)

    async def _about(self, jid: JID, kind: str) -> None:
        stanza_id = secrets.token_hex(16)
        await self.send(presence_stanza(jid, kind, stanza_id), stanza_id)

    async def _request(self, request: Iq) -> Iq:
        try:
            answer: Iq = await request.send()
        except IqTimeout:
            why = "no answer came"
        except IqError as error:
            why = str(error.condition)
        else:
            return answer
        raise SessionError("the server did not do what it was asked", why=why)
