"""slixmpp's client with its way to the network taken out and ours put in.

slixmpp keeps stanzas, plugins, and the matching of answers to requests. Ours are
the connection and its limits (:mod:`.wire`), the login (:mod:`.login`), and who
has received what (:mod:`.acks`). The password is never given to slixmpp, so no
mechanism of its can send it.
"""

import asyncio
import logging
import re
import secrets
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, NoReturn

import slixmpp.jid
from slixmpp import ClientXMPP
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.errors import NotAcknowledgedError, StreamViolationError
from xmpp_onion.session.acks import IncomingAcks, OutgoingAcks
from xmpp_onion.session.gate import Gate, Verdict
from xmpp_onion.session.serialising import serialise
from xmpp_onion.session.wire import Wire

__all__ = ["OnionClient", "quieten_library_logs"]

log = logging.getLogger(__name__)

SM: Final = "urn:xmpp:sm:3"
_STANZA: Final = re.compile(r"<(message|presence|iq)[\s/>]")
_MESSAGE: Final = "{jabber:client}message"
_PRESENCE: Final = "{jabber:client}presence"
_STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
_STANZA_TAGS: Final = frozenset({_MESSAGE, "{jabber:client}iq", _PRESENCE})
_SUBSCRIPTIONS: Final = frozenset(
    {"subscribe", "subscribed", "unsubscribe", "unsubscribed"}
)
# No plugin that dials (0065, 0363), tells strangers what we run (0012, 0092,
# 0202), or does ours over again (0198).
_PLUGINS: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        "xep_0030": {},  # service discovery
        "xep_0060": {},  # publish-subscribe
        "xep_0163": {},  # personal eventing: where device lists live
        # One node for all users of slixmpp, without the version.
        "xep_0115": {"caps_node": "https://slixmpp.com"},
        "xep_0184": {"auto_ack": False, "auto_request": False},  # receipts
        "xep_0199": {"keepalive": False},  # answers pings; ours is an <r/>
        "xep_0334": {},  # hints
        "xep_0359": {},  # stanza ids
        "xep_0380": {},  # names the encryption
    }
)
# What slixmpp and its plugins would look for in each stanza, and nobody here waits
# for: a message is read without them, the gate confirms what the roster says, and a
# login is not theirs.
_UNHEARD: Final = (
    "IM",
    "IMError",
    "Message Receipt",
    "Message Receipt Request",
    "Explicit Message Encryption",
    "Data Form",
    "Roster Update",
    "Stream Error",
    "Stream Features",
    "STARTTLS Proceed",
    "SASL Success",
    "SASL Failure",
    "SASL Challenge",
)
# The one thing in messages that slixmpp's plugins still tell somebody about.
_EVENT: Final = "{http://jabber.org/protocol/pubsub#event}event"
# Characters that may wait for an ack when the server wants another answer: messages
# under way are four MiB, so the rest are answers that it had and does not confirm.
_UNCONFIRMED: Final = 16 * 1024 * 1024
# Seconds between two questions for an ack in a burst: a tenth of what the quickest
# circuit takes, and five of a hundred questions at a thousand messages a second.
_ASK_EVERY: Final = 0.02
# What slixmpp calls the time-outs of its requests.
_REQUEST: Final = "IqTimeout_"

Ticket = tuple[int, int]


class OnionClient(ClientXMPP):
    """One account's stanzas, on one connection after another.

    Args:
        jid: The account.
        deliver: Called with each stanza that comes and its ticket, if it is counted;
            returns whether somebody settles the ticket later (``incoming.settle``).
        asking: Called when a request is sent and when one ends.
        resource: Names this device at the server; empty makes a random one.

    Attributes:
        asked_at: When the server asked first on this connection what we have, by the
            clock of the loop; None if it has not.
    """

    def __init__(
        self,
        jid: JID,
        deliver: Callable[[ET.Element, Ticket | None], bool] = lambda *_: False,
        asking: Callable[[], None] = lambda: None,
        *,
        resource: str = "",
    ) -> None:
        super().__init__(
            f"{jid.bare}/{resource or secrets.token_hex(8)}",
            "",
            ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # unused, and cheap,
        )
        self.account = jid.bare
        self.gate = Gate(jid)
        self.outgoing: OutgoingAcks[asyncio.Future[None]] = OutgoingAcks()
        self.incoming = IncomingAcks()
        self.resume_id = ""
        self.acknowledged = asyncio.Event()
        self.ack_requested = asyncio.Event()
        self.asked_at: float | None = None
        self._questions = self._asked_for = 0
        self._deliver = deliver
        self._asking = asking
        self._wire: Wire | None = None
        self._is_preparing = False
        self._requests: dict[str, Callable[[], None]] = {}
        self._ask_soon: asyncio.Handle | None = None
        self._configure()

    def _configure(self) -> None:
        # Who asks to see us waits for a person; slixmpp would say yes. (It does not
        # even get to see such a presence: see _take_stanza.)
        self.roster.auto_authorize = False
        self.roster.auto_subscribe = False
        self.use_message_ids = True
        for name, config in _PLUGINS.items():
            self.register_plugin(name, dict(config))
        # It asks everybody whose presence comes what software they have.
        caps = self.plugin["xep_0115"]
        self.del_event_handler("entity_caps", caps._process_caps)  # noqa: SLF001 - there is no public switch
        # It writes white space, and not after a resume: see Liveness instead.
        self.del_event_handler("session_start", self._start_keepalive)
        for name in _UNHEARD:
            self.remove_handler(name)
        self.init_plugins()  # type: ignore[no-untyped-call] # untyped in slixmpp

    # --- the ways that slixmpp would take by itself ---------------------------

    def connect(self, host: str | None = None, port: int | None = None) -> NoReturn:
        """Refuse: a session dials, through Tor."""
        raise RuntimeError(f"slixmpp must not dial ({host}, {port})")

    def reconnect(self, wait: float = 0.0, reason: str = "") -> None:
        """Drop the connection; the session dials again if it wants to."""
        del wait
        if self._wire is not None:
            self._wire.drop(reason or "a plugin asked for a new connection")

    async def get_dns_records(
        self, domain: str, port: int | None = None
    ) -> list[tuple[str, str, str, int]]:
        """Refuse: there is no DNS here."""
        raise RuntimeError(f"slixmpp must not look up names ({domain}, {port})")

    # --- from one connection to the next --------------------------------------

    @property
    def online(self) -> bool:
        """Whether stanzas go through."""
        return self._wire is not None

    @property
    def takes_stanzas(self) -> bool:
        """Whether stanzas are taken, to go out now or with the next login."""
        return self.online or bool(self.resume_id) or self._is_preparing

    async def prepare(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Let ``ask`` say what goes out behind the next login.

        Where there is no stream to resume, all of it belongs to a new one, and what
        was prepared for another login that failed is given up.
        """
        if not self.resume_id:
            self.forget_stream()
            # The answers are to be taken from our own server alone.
            self.session_bind_event.set()
            self._session_started = True
        self._is_preparing = True
        try:
            await ask()
            async with asyncio.TaskGroup() as tasks:
                filters = tasks.create_task(self.run_filters())
                await self.waiting_queue.join()
                filters.cancel()
        finally:
            self._is_preparing = False

    def take_bound(self, jid: slixmpp.jid.JID) -> None:
        """Note the full JID that the server gave us."""
        self.boundjid = jid

    def go_online(
        self, wire: Wire, *, resumed: bool, early: list[ET.Element], said: int = 0
    ) -> None:
        """Let stanzas through on a connection that has been logged in.

        Args:
            wire: The connection.
            resumed: The earlier stream goes on: what it left is sent again.
            early: What came before counting began.
            said: So many stanzas were said behind the login, with a question for
                their ack.
        """
        self._wire = wire
        self.asked_at = None
        self._questions, self._asked_for = (1, said) if said else (0, 0)
        self.transport = wire.transport
        self.features = {"mechanisms", "bind"}
        self.authenticated = self.sessionstarted = self.bound = True
        self.session_bind_event.set()
        for element in early:
            if element.tag in _STANZA_TAGS:
                self._deliver(element, None)
                self._dispatch(element)
        if resumed:
            # Before all that goes again, which may take long on a slow way: is the
            # server deaf?
            self.ask_for_ack()
        for text in self.outgoing.unacknowledged(after=said):
            wire.write(text)
        self.outgoing.mark_written()
        if not resumed:
            self.event("session_bind", self.boundjid)
        self.event("session_resumed" if resumed else "session_start")
        self.ask_for_ack()
        wire.deliver_to(self._take)

    def go_offline(self, reason: str) -> None:
        """Note that the connection is gone; it may come back."""
        self._wire = self.transport = None
        if self._ask_soon is not None:
            self._ask_soon.cancel()
            self._ask_soon = None
        self._set_disconnected_future()
        self.event("disconnected", reason)

    def resumed_at(self, handled: int) -> None:
        """Note that the server sends all after ``handled`` again."""
        self.incoming.rewind(handled)

    def forget_stream(self, acknowledged: int | None = None, *, said: int = 0) -> None:
        """Give the earlier stream up: it cannot be resumed.

        Args:
            acknowledged: What the server says it had of it, if it says so.
            said: So many stanzas were said behind the login, and the new stream has
                them.
        """
        if acknowledged is not None and not said:
            try:
                self._complete(acknowledged)
            except StreamViolationError:
                log.warning("the server miscounts an ended stream; all is sent again")
        self.resume_id = ""
        self.incoming.forget()
        for token in self.outgoing.forget(keep=said):
            if not token.done():
                token.set_exception(_not_acknowledged())
        for name, expire in list(self._requests.items()):
            self.cancel_schedule(name)
            expire()
        self.event("session_end")

    # --- in -------------------------------------------------------------------

    def _take(self, element: ET.Element) -> None:
        if element.tag in _STANZA_TAGS:
            self._take_stanza(element)
        elif element.tag == f"{{{SM}}}r":
            self.asked_at = self.asked_at or self.loop.time()
            self.send_ack()
        elif element.tag == f"{{{SM}}}a":
            self.take_ack(element)

    def _take_stanza(self, element: ET.Element) -> None:
        ticket = self.incoming.receive(handled=False)
        if not self._deliver(element, ticket):
            self.incoming.settle(ticket)
        if element.tag != _PRESENCE or element.get("type") not in _SUBSCRIPTIONS:
            self._dispatch(element)

    def _dispatch(self, element: ET.Element) -> None:
        """Let slixmpp's handlers and plugins see a stanza, if they may."""
        try:
            verdict = self.gate.judge(element)
            if verdict is not Verdict.PASS:
                self._answer(element, verdict)
                return
            if element.tag == _MESSAGE and element.find(_EVENT) is None:
                return  # no handler is left that matches; to try them all takes long
            self._spawn_event(element)
        except Exception as error:  # noqa: BLE001 - what slixmpp, or the gate, cannot digest must not take the stream along
            log.warning("a stanza could not be handled (%s)", type(error).__name__)

    def _answer(self, element: ET.Element, verdict: Verdict) -> None:
        """Say to whoever asked what the gate wants said."""
        if verdict is Verdict.DROP:
            return
        kind = "result" if verdict is Verdict.CONFIRM else "error"
        attributes = {"type": kind, "id": element.get("id", "")}
        if "from" in element.attrib:
            attributes["to"] = element.attrib["from"]
        answer = ET.Element("{jabber:client}iq", attributes)
        if verdict is Verdict.REFUSE:
            error = ET.SubElement(answer, "{jabber:client}error", {"type": "cancel"})
            ET.SubElement(error, f"{{{_STANZAS}}}service-unavailable")
        self.send_counted(serialise(answer))

    # --- out ------------------------------------------------------------------

    def send_raw(self, data: str | bytes) -> None:
        """Write what slixmpp made; a stanza is counted until it is acknowledged."""
        text = data.decode() if isinstance(data, bytes) else data
        if _STANZA.match(text):
            self.send_counted(text)
        elif self._wire is not None:
            self._wire.write(text)

    def send_counted(
        self, text: str, token: asyncio.Future[None] | None = None
    ) -> None:
        """Send a stanza; ``token`` completes when the server has it.

        While the connection is away and may come back, the stanza waits.

        Raises:
            NotConnectedError: There is no session.
        """
        if not self.takes_stanzas:
            raise NotConnectedError
        if token is None and self.outgoing.characters > _UNCONFIRMED:
            self._give_up()
            return
        self.outgoing.add(text, token)
        if self._wire is not None:
            self.outgoing.mark_written()
            if self._ask_soon is None and (token is not None or not self._questions):
                # Without it a stream at rest would not know what the server has, and
                # after a cut nothing could be said behind the login.
                self._ask_soon = self._plan_question()
            self._wire.write(text)

    def _give_up(self) -> None:
        """End a stream that has more unconfirmed than we ever say, and not resume it.

        Messages are on the disk and go again; answers nobody waits for.
        """
        self.resume_id = ""
        if self._wire is not None:
            self._wire.drop("the server confirms nothing")

    def _plan_question(self) -> asyncio.Handle:
        """Ask once for all that is written in this turn of the loop.

        Asked for before the writing is, it goes out with it. In a burst the answer to
        the question before is waited for, but not for long.
        """
        if self._questions <= 0:
            return self.loop.call_soon(self.ask_for_ack)
        return self.loop.call_later(_ASK_EVERY, self.ask_for_ack)

    def ask_for_ack(self) -> None:
        """Ask the server what it has received (XEP-0198, section 4)."""
        self._ask_soon = None
        if self._wire is not None:
            self.acknowledged.clear()
            self.ack_requested.set()
            self._questions += 1
            self._asked_for = self.outgoing.sent
            self._wire.write(f"<r xmlns='{SM}'/>")

    def take_ack(self, element: ET.Element) -> None:
        """Complete what the server says it has.

        Raises:
            StreamViolationError: It cannot have that.
        """
        before, count = self.outgoing.acknowledged, read_count(element)
        self._complete(-1 if count is None else count)
        self._questions -= 1
        # With several questions out this may be the answer to an earlier one. That to
        # the last counts all that went before it, or comes when each has its own.
        if self._questions <= 0 or count == self._asked_for:
            self._questions = 0
            self.ack_requested.clear()
            if self._ask_soon is not None:
                self._ask_soon.cancel()
                self._ask_soon = self.loop.call_soon(self.ask_for_ack)
        self.acknowledged.set()
        is_quiet = not self._questions and self._ask_soon is None
        if is_quiet and self.outgoing.written and count != before:
            self.ask_for_ack()  # for what was written meanwhile

    def _complete(self, count: int) -> None:
        for token in self.outgoing.acknowledge(count):
            if not token.done():
                token.set_result(None)

    def send_ack(self) -> None:
        """Tell the server what we have handled."""
        if self._wire is not None:
            self._wire.write(f"<a xmlns='{SM}' h='{self.incoming.handled}'/>")

    # --- requests -------------------------------------------------------------

    @property
    def is_asking(self) -> bool:
        """Whether an answer to one of our requests is due."""
        return bool(self._requests)

    def schedule(  # type: ignore[explicit-any] # noqa: PLR0917 - slixmpp's signature
        self,
        name: str,
        seconds: int,
        callback: Callable[..., None],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
        repeat: bool = False,  # noqa: FBT001, FBT002 - slixmpp's signature
    ) -> None:
        """Run something later; requests are remembered, to end with their session."""
        super().schedule(name, seconds, callback, args, kwargs or {}, repeat)
        if name.startswith(_REQUEST):
            self._requests[name] = callback
            self._asking()

    def cancel_schedule(self, name: str) -> None:
        """Do not run it after all."""
        super().cancel_schedule(name)
        self._end_request(name)

    def _execute_and_unschedule(self, name: str, cb: Callable[[], None]) -> None:
        super()._execute_and_unschedule(name, cb)
        self._end_request(name)

    def _end_request(self, name: str) -> None:
        if self._requests.pop(name, None) is not None:
            self._asking()


def quieten_library_logs() -> None:
    """Keep what slixmpp logs about content out of every log.

    At DEBUG it logs each stanza and each step of a login; at ERROR the bytes that
    it could not parse, and requests in full. Other loggers, and handlers, are not
    touched.
    """
    for name, level in {
        "slixmpp": logging.ERROR,
        "slixmpp.basexmpp": logging.CRITICAL,
        "slixmpp.xmlstream": logging.CRITICAL,
    }.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, level))


def read_count(element: ET.Element) -> int | None:
    """Return the counter ``h`` of an element; None if it is not a number."""
    text = element.get("h", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _not_acknowledged() -> NotAcknowledgedError:
    return NotAcknowledgedError(
        "the server did not confirm a message",
        why="the session ended before it could",
        fix="Send the same stanza again when the session is back.",
    )
