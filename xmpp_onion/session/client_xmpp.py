"""slixmpp's client with its way to the network taken out and ours put in.

slixmpp keeps: stanzas, plugins, matching answers to requests. Ours: where the
bytes come from (a socket that was dialed through Tor), the parser and its
limits, the login (:mod:`xmpp_onion.session.login`), and who has received what
(XEP-0198). The password is never given to slixmpp, so no mechanism of its can
send it.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Final, NoReturn, cast

import slixmpp.jid
from slixmpp import ClientXMPP
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.errors import NotAcknowledgedError, SessionError, StreamViolationError
from xmpp_onion.session.acks import IncomingAcks, OutgoingAcks
from xmpp_onion.session.guards import StanzaReader, StreamClosed, StreamOpened

__all__ = ["OnionClient", "quieten_library_logs"]

log = logging.getLogger(__name__)

STREAMS: Final = "http://etherx.jabber.org/streams"
SM: Final = "urn:xmpp:sm:3"
_STANZA: Final = re.compile(r"<(message|presence|iq)[\s/>]")
_STANZA_TAGS: Final = frozenset(
    f"{{jabber:client}}{name}" for name in ("message", "presence", "iq")
)
# slixmpp shows these to strangers, dials, or answers for us: none of it is ours.
_PLUGINS: Final[dict[str, dict[str, object]]] = {
    "xep_0030": {},  # service discovery
    "xep_0060": {},  # publish-subscribe
    "xep_0163": {},  # personal eventing: where device lists live
    # One node for all our users, without a version.
    "xep_0115": {"caps_node": "https://slixmpp.com"},
    "xep_0184": {"auto_ack": False, "auto_request": False},  # receipts
    "xep_0191": {},  # blocking
    "xep_0199": {"keepalive": False},  # answers pings; our own check is an <r/>
    "xep_0334": {},  # hints
    "xep_0359": {},  # stanza ids
    "xep_0380": {},  # names the encryption
}

# A request that is pending when its session ends is answered with a time-out.
_REQUEST: Final = "IqTimeout_"


class OnionClient(ClientXMPP):
    """One account's stanzas on one connection after another.

    Args:
        jid: The account. The resource is random: it tells strangers nothing.
        deliver: Called with each stanza and its ticket; returns whether somebody
            has to settle it later (``incoming.settle``).
    """

    def __init__(
        self,
        jid: JID,
        deliver: Callable[[ET.Element, tuple[int, int]], bool] = lambda *_: False,
    ) -> None:
        resource = secrets.token_hex(8)
        super().__init__(f"{jid.bare}/{resource}", "", ssl_context=_tls_context())
        self.account = jid.bare
        self.outgoing: OutgoingAcks[asyncio.Future[None]] = OutgoingAcks()
        self.incoming = IncomingAcks()
        self.resume_id = ""
        self.online = False
        self.last_heard = 0.0
        self.lost: asyncio.Future[str] | None = None
        self.acknowledged = asyncio.Event()
        self.ack_requested = asyncio.Event()
        self._deliver = deliver
        self._reader = StanzaReader()
        self._controls: asyncio.Queue[ET.Element | None] = asyncio.Queue()
        self._loss = ""
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
            self.register_plugin(name, config)
        # It asks everybody whose presence comes what software they have.
        self.del_event_handler("entity_caps", self.plugin["xep_0115"]._process_caps)  # noqa: SLF001 - there is no public switch
        # Its white space is written without our counting, and not after a resume.
        self.del_event_handler("session_start", self._start_keepalive)
        self.init_plugins()  # type: ignore[no-untyped-call] # untyped in slixmpp

    # --- the ways that slixmpp would take by itself ---------------------------

    def connect(self, host: str | None = None, port: int | None = None) -> NoReturn:
        """Refuse: a session dials, through Tor."""
        raise RuntimeError(f"slixmpp must not dial ({host}, {port})")

    def reconnect(self, wait: float = 0.0, reason: str = "") -> None:
        """Drop the connection; the session dials again if it wants to."""
        del wait
        self.drop(reason or "a plugin asked for a new connection")

    async def get_dns_records(
        self, domain: str, port: int | None = None
    ) -> list[tuple[str, str, str, int]]:
        """Refuse: there is no DNS here."""
        raise RuntimeError(f"slixmpp must not look up names ({domain}, {port})")

    # --- one connection -------------------------------------------------------

    async def attach(self, sock: object) -> None:
        """Take over a connected socket."""
        self.lost = self.loop.create_future()
        self._loss = ""
        self._controls = asyncio.Queue()
        self._reader = StanzaReader()
        await self.loop.create_connection(  # type: ignore[call-overload] # only transport may name the socket type
            lambda: self, sock=sock
        )

    def connection_made(
        self,
        transport: asyncio.BaseTransport,
        send_event: bool = True,  # noqa: FBT001, FBT002 - slixmpp's signature
    ) -> None:
        """Note the transport; asyncio calls this."""
        del send_event
        self.transport = cast("asyncio.Transport", transport)
        self.last_heard = self.loop.time()
        self.event("connected")

    def connection_lost(self, exception: BaseException | None) -> None:
        """Note that the connection is gone; asyncio calls this."""
        del exception  # its text may hold an address
        self.transport = None
        self.online = False
        self._loss = self._loss or "the connection broke"
        if self._ask_soon is not None:
            self._ask_soon.cancel()
            self._ask_soon = None
        self._controls.put_nowait(None)
        self._set_disconnected_future()
        self.event("disconnected", self._loss)
        if self.lost is not None and not self.lost.done():
            self.lost.set_result(self._loss)

    async def wait_lost(self) -> str:
        """Return why the connection ended, when it has."""
        return self._loss if self.lost is None else await asyncio.shield(self.lost)

    async def close(self, *, grace: float) -> None:
        """End the stream and the connection; nothing of it is left afterwards.

        Args:
            grace: Seconds to wait for the server to close its side. Zero cuts the
                connection, and not one more byte is sent.
        """
        if self.transport is not None and self.lost is not None:
            self._loss = self._loss or "closed"
            if grace:
                self.write(self.stream_footer)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await asyncio.shield(self.lost)
            self.drop("closed")
            await self.lost
        for name in list(self.scheduled_events):
            self.cancel_schedule(name)

    def drop(self, reason: str) -> None:
        """Cut the connection at once."""
        self._loss = self._loss or reason
        if self.transport is not None:
            self.transport.abort()

    async def start_tls_now(self, name: str, timeout: float) -> bytes:
        """Encrypt the connection; return the certificate shown, in DER form.

        Nothing about the certificate has been checked: compare it before
        anything is written.
        """
        if self.transport is None:
            raise self._ended()
        transport = await self.loop.start_tls(
            self.transport,
            self,
            self.ssl_context,
            server_hostname=name,
            ssl_handshake_timeout=timeout,
        )
        if transport is None:
            raise self._ended()
        self.transport = transport
        tls = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
        return tls.getpeercert(binary_form=True) or b""

    async def open_stream(self) -> ET.Element:
        """Start a stream on the connection, and return the server's features."""
        if not self._controls.empty() and self.transport is not None:
            # Bytes before TLS are not to be believed after it (CVE-2011-0411).
            raise StreamViolationError(
                "the server sent more than it was asked for",
                condition="policy-violation",
            )
        self._reader = StanzaReader()
        self.write(self.stream_header)
        features = await self.next_element()
        if features.tag != f"{{{STREAMS}}}features":
            raise StreamViolationError(
                "the server did not say what it can do", condition="bad-format"
            )
        return features

    async def next_element(self) -> ET.Element:
        """Return the next top-level element, during login.

        Raises:
            SessionError: The connection ended, or the server ended the stream.
        """
        element = await self._controls.get()
        if element is None:
            raise self._ended()
        if element.tag == f"{{{STREAMS}}}error":
            raise SessionError("the server ended the stream", why=_condition(element))
        return element

    def write(self, text: str) -> None:
        """Write to the connection, uncounted."""
        if self.transport is None:
            raise NotConnectedError
        self.transport.write(text.encode())

    def _ended(self) -> SessionError:
        return SessionError("the login was cut short", why=self._loss)

    # --- what comes in --------------------------------------------------------

    def data_received(self, data: bytes | str) -> None:
        """Read what came; asyncio calls this."""
        self.last_heard = self.loop.time()
        raw = data.encode() if isinstance(data, str) else data
        try:
            for item in self._reader.feed(raw):
                self._take(item)
        except StreamViolationError as error:
            self.refuse(error)

    def refuse(self, error: StreamViolationError) -> None:
        """Tell the server which rule it broke, and close."""
        log.warning("the server broke a rule: %s", error.why or error.what)
        self._loss = self._loss or error.why or error.what
        with contextlib.suppress(NotConnectedError):
            self.write(
                f"<stream:error><{error.condition} "
                "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
                "</stream:stream>"
            )
        if self.transport is not None:
            self.transport.close()

    def _take(self, item: StreamOpened | ET.Element | StreamClosed) -> None:
        match item:
            case StreamOpened(stream_id):
                self.stream_id = stream_id
            case StreamClosed():
                self.drop("the server closed the stream")
            case _ if self.online:
                self._take_online(item)
            case _:
                self._controls.put_nowait(item)

    def _take_online(self, element: ET.Element) -> None:
        if element.tag in _STANZA_TAGS:
            self._take_stanza(element)
        elif element.tag == f"{{{SM}}}r":
            self.send_ack()
        elif element.tag == f"{{{SM}}}a":
            self.take_ack(element)
        elif element.tag == f"{{{STREAMS}}}error":
            # see-other-host is one of these: it is not followed (RFC 6120,
            # section 4.9.3.19, would have us dial what the server says).
            self.drop(f"the server ended the stream: {_condition(element)}")

    def _take_stanza(self, element: ET.Element) -> None:
        ticket = self.incoming.receive(handled=False)
        if not self._deliver(element, ticket):
            self.incoming.settle(ticket)
        if not _is_about_subscription(element):
            self._spawn_event(element)

    # --- what goes out --------------------------------------------------------

    def send_raw(self, data: str | bytes) -> None:
        """Write what slixmpp made; a stanza is counted until it is acknowledged."""
        text = data.decode() if isinstance(data, bytes) else data
        if _STANZA.match(text):
            self.send_counted(text)
        elif self.online:
            self.write(text)

    def send_counted(
        self, text: str, token: asyncio.Future[None] | None = None
    ) -> None:
        """Send a stanza; ``token`` completes when the server has it.

        While the connection is away and may come back, the stanza waits.
        """
        if not self.online and not self.resume_id:
            raise NotConnectedError
        self.outgoing.add(text, token)
        if self.online:
            self.write(text)
            if token is not None:
                self._ask_for_ack_soon()

    def _ask_for_ack_soon(self) -> None:
        # One <r/> for all that is written in this turn of the loop.
        if self._ask_soon is None:
            self._ask_soon = self.loop.call_soon(self.ask_for_ack)

    def ask_for_ack(self) -> None:
        """Ask the server what it has received (XEP-0198, section 4)."""
        self._ask_soon = None
        if self.online:
            self.acknowledged.clear()
            self.ack_requested.set()
            self.write(f"<r xmlns='{SM}'/>")

    def take_ack(self, element: ET.Element) -> None:
        """Complete what the server says it has.

        Raises:
            StreamViolationError: It cannot have that.
        """
        for token in self.outgoing.acknowledge(_counter(element)):
            if not token.done():
                token.set_result(None)
        self.ack_requested.clear()
        self.acknowledged.set()

    def send_ack(self) -> None:
        """Tell the server what we have handled."""
        if self.online:
            self.write(f"<a xmlns='{SM}' h='{self.incoming.handled}'/>")

    # --- from one stream to the next ------------------------------------------

    def take_bound(self, jid: slixmpp.jid.JID) -> None:
        """Note the full JID that the server gave us."""
        self.boundjid = jid
        self.features.update({"mechanisms", "bind"})
        self.authenticated = True
        self.session_bind_event.set()

    def resumed_at(self, handled: int) -> None:
        """Note that the server sends all after ``handled`` again."""
        self.incoming.rewind(handled)
        self.features.update({"mechanisms", "bind"})

    def go_online(self, *, resumed: bool, early: list[ET.Element]) -> None:
        """Let stanzas through, first those that came during the login.

        Args:
            resumed: The earlier stream goes on: what it left is sent again.
            early: Came before counting began.
        """
        self.online = self.sessionstarted = True
        self.session_bind_event.set()
        for element in early:
            if element.tag in _STANZA_TAGS:
                self._deliver(element, (-1, 0))
                self._spawn_event(element)
        if resumed:
            for text in self.outgoing.unacknowledged():
                self.write(text)
        else:
            self.event("session_bind", self.boundjid)
        self.event("session_resumed" if resumed else "session_start")
        self.ask_for_ack()
        while not self._controls.empty():
            element_or_end = self._controls.get_nowait()
            if element_or_end is not None:
                self._take_online(element_or_end)

    def forget_stream(self, acknowledged: int | None = None) -> None:
        """Give the earlier stream up: it cannot be resumed.

        Args:
            acknowledged: What the server says it had of it, if it says so.
        """
        if acknowledged is not None:
            with contextlib.suppress(StreamViolationError):
                for token in self.outgoing.acknowledge(acknowledged):
                    if not token.done():
                        token.set_result(None)
        self.resume_id = ""
        self.incoming.forget()
        for token in self.outgoing.forget():
            if not token.done():
                token.set_exception(_not_acknowledged())
        for name, expire in list(self._requests.items()):
            self.cancel_schedule(name)
            expire()
        self.event("session_end")

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

    def cancel_schedule(self, name: str) -> None:
        """Do not run it after all."""
        super().cancel_schedule(name)
        self._requests.pop(name, None)

    @property
    def is_asking(self) -> bool:
        """Whether an answer to one of our requests is due."""
        return any(name in self.scheduled_events for name in self._requests)


def quieten_library_logs() -> None:
    """Keep what the XMPP libraries log about content out of every log.

    At DEBUG slixmpp logs each stanza and each step of a login; at ERROR the raw
    bytes that it could not parse, and requests in full. Other loggers, and
    handlers, are not touched.
    """
    for name, level in {
        "slixmpp": logging.ERROR,
        "slixmpp.basexmpp": logging.CRITICAL,
        "slixmpp.xmlstream": logging.CRITICAL,
    }.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, level))


def _tls_context() -> ssl.SSLContext:
    # No authority vouches for an onion: the certificate is compared with the one
    # that is pinned, byte for byte, before anything is sent (login.py).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_about_subscription(element: ET.Element) -> bool:
    return element.tag == "{jabber:client}presence" and element.get("type", "") in {
        "subscribe",
        "subscribed",
        "unsubscribe",
        "unsubscribed",
    }


def _counter(element: ET.Element) -> int:
    text = element.get("h", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1


def _condition(element: ET.Element) -> str:
    """Return the name of a stream error; the server's own words stay out."""
    for child in element:
        name = child.tag.rpartition("}")[2]
        if name != "text" and re.fullmatch(r"[a-z-]{1,40}", name):
            return name
    return "no reason given"


def _not_acknowledged() -> NotAcknowledgedError:
    return NotAcknowledgedError(
        "the server did not confirm a message",
        why="the session ended before it could",
        fix="Send the same stanza again when the session is back.",
    )
