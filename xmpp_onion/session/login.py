"""Who we are: TLS, SASL, and the session that the server gives us.

Each step is one function that sends and waits, in the order of RFC 6120. What
the server offers is looked at only where this package wants something; nothing
it offers besides is taken up.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import ssl
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Final, Protocol
from xml.sax.saxutils import escape, quoteattr

import slixmpp.jid

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import (
    AuthenticationError,
    CertificateError,
    FeatureMissingError,
    SessionError,
    StreamViolationError,
)
from xmpp_onion.session.client_xmpp import SM, OnionClient, read_count
from xmpp_onion.session.moved import raise_if_moved
from xmpp_onion.session.scram import Scram, choose_mechanism
from xmpp_onion.session.stream_limits import read_limit
from xmpp_onion.session.wire import Connection, Wire
from xmpp_onion.transport import Isolation

__all__ = ["Credentials", "Dialer", "Login", "log_in"]

log = logging.getLogger(__name__)

TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
_STANZAS: Final = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
# Eight round trips over a slow circuit, with room.
LOGIN_TIMEOUT: Final = 90.0
DIAL_TIMEOUT: Final = 60.0
# The server cannot check the password just now; it says nothing about ours.
_TEMPORARY: Final = "temporary-auth-failure"


class Dialer(Protocol):
    """What a session needs of Tor; the tests have one that stays on loopback."""

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = DIAL_TIMEOUT,
    ) -> Connection:
        """Connect to an onion service and return the connected socket."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, and what the server has to show.

    Args:
        jid: The account.
        password: Never sent; SCRAM proves it.
        certificate: SHA-256 of the server's certificate in hex; empty takes any
            and reports it, for trust on first use.
        tls: False leaves encryption to the onion service alone.
    """

    jid: JID
    password: str = field(repr=False)
    certificate: str = ""
    tls: bool = True


@dataclass(frozen=True, slots=True)
class Login:
    """How a login went.

    Args:
        resumed: The earlier stream goes on.
        certificate: What the server showed; empty without TLS.
        early: Stanzas that came before counting began.
        stanza_limit: Bytes of one stanza that the server takes; None if it says none.
    """

    resumed: bool
    certificate: str
    early: list[ET.Element] = field(default_factory=list)
    stanza_limit: int | None = None


async def log_in(wire: Wire, client: OnionClient, who: Credentials) -> Login:
    """Take a fresh connection through login, to a resumed or a new session.

    Args:
        wire: The connection.
        client: What goes online with it; it knows what may be resumed.
        who: Who logs in.

    Raises:
        AuthenticationError: The server refuses us, or is an impostor. There is
            one attempt with one mechanism, and nothing weaker after it.
        CertificateError: It shows another certificate; nothing was sent.
        FeatureMissingError: It lacks TLS, SCRAM-SHA-256 or XEP-0198.
        MovedError: It has another name now.
        SessionError: Anything that another attempt may cure.
    """
    domain = who.jid.domain
    features = await wire.open_stream(domain)
    certificate = ""
    if who.tls:
        certificate = await start_tls(wire, features, domain, who.certificate)
        features = await wire.open_stream(domain)
    await authenticate(wire, features, who.jid.local, who.password)
    features = await wire.open_stream(domain)
    raise_if_moved(features, domain)
    if features.find(f"{{{SM}}}sm") is None:
        raise FeatureMissingError(
            "the server does not acknowledge messages",
            feature="XEP-0198",
            fix='The operator adds "smacks" to modules_enabled of Prosody.',
        )
    limit = read_limit(features)
    if client.resume_id and await resume(wire, client):
        return Login(resumed=True, certificate=certificate, stanza_limit=limit)
    client.take_bound(await bind(wire, who.jid, client.requested_jid.resource))
    client.resume_id, early = await enable_acks(wire)
    return Login(
        resumed=False, certificate=certificate, early=early, stanza_limit=limit
    )


async def start_tls(
    wire: Wire, features: ET.Element, domain: OnionAddress, pinned: str
) -> str:
    """Encrypt, and return the certificate's SHA-256 once it is the one pinned.

    Raises:
        FeatureMissingError: The server does not offer TLS, or somebody took the
            offer away.
        CertificateError: It is another certificate.
    """
    if features.find(f"{{{TLS}}}starttls") is None:
        raise FeatureMissingError(
            "the server does not offer TLS",
            feature="RFC 6120, section 5",
            why="it was set up without, or somebody took the offer away",
            fix="Ask the operator over another channel; do not log in before.",
        )
    wire.write(f"<starttls xmlns='{TLS}'/>")
    answer = await wire.next_element()
    if answer.tag != f"{{{TLS}}}proceed":
        raise SessionError("the server did not start TLS")
    try:
        der = await wire.start_tls(tls_context(), domain, LOGIN_TIMEOUT)
    except ssl.SSLError as error:
        raise SessionError(
            "TLS with the server failed", why=error.reason or "handshake failed"
        ) from error
    shown = hashlib.sha256(der).hexdigest()
    if not der or (pinned and not hmac.compare_digest(shown, pinned.lower())):
        raise CertificateError(
            "the server shows another certificate than the one pinned",
            why=f"SHA-256 {shown} instead of {pinned}",
            fix="Nothing was sent. Ask the operator over another channel whether "
            "it was changed; if so, pin the new one.",
        )
    return shown


async def authenticate(
    wire: Wire, features: ET.Element, user: str, password: str
) -> None:
    """Log in with the strongest SCRAM that both sides have; one attempt.

    Source: RFC 6120, section 6; RFC 5802.
    """
    mechanisms = (node.text or "" for node in features.iter(f"{{{SASL}}}mechanism"))
    scram = Scram(choose_mechanism(mechanisms), user, password)
    wire.write(
        f"<auth xmlns='{SASL}' mechanism='{scram.mechanism}'>"
        f"{_encode(scram.first_message())}</auth>"
    )
    challenge = scram.read_challenge(await _sasl_text(wire, "challenge"))
    # Up to half a second of hashing: not in the event loop.
    answer = await asyncio.to_thread(scram.answer, challenge)
    wire.write(f"<response xmlns='{SASL}'>{_encode(answer)}</response>")
    scram.verify(await _sasl_text(wire, "success"))


async def resume(wire: Wire, client: OnionClient) -> bool:
    """Ask for the earlier stream; False if the server has forgotten it.

    Raises:
        StreamViolationError: The server claims what cannot be; the earlier stream
            is given up.
    """
    handled = client.incoming.handled
    wire.write(
        f"<resume xmlns='{SM}' h='{handled}' previd={quoteattr(client.resume_id)}/>"
    )
    answer = await wire.next_element()
    if answer.tag == f"{{{SM}}}failed":
        client.forget_stream(read_count(answer))
        return False
    try:
        if answer.tag != f"{{{SM}}}resumed":
            raise _unexpected(answer)
        client.take_ack(answer)
    except StreamViolationError:
        client.forget_stream()
        raise
    client.resumed_at(handled)
    return True


async def bind(wire: Wire, account: JID, resource: str) -> slixmpp.jid.JID:
    """Return the full JID that the server gives us; one of our own account.

    Raises:
        AuthenticationError: It is somebody else's.
    """
    answer = await ask(
        wire, f"<bind xmlns='{BIND}'><resource>{escape(resource)}</resource></bind>"
    )
    if answer.get("type") != "result":
        raise SessionError("the server gives us no resource", why=stanza_error(answer))
    text = answer.findtext(f"{{{BIND}}}bind/{{{BIND}}}jid", "")
    try:
        bound = slixmpp.jid.JID(text)
    except slixmpp.jid.InvalidJID:
        bound = slixmpp.jid.JID("")
    if bound.bare != account.bare or not bound.resource:
        raise AuthenticationError(
            "the server logged us in as somebody else",
            fix="Nothing was sent. Do not use this server before its operator "
            "has explained it.",
        )
    return bound


async def enable_acks(wire: Wire) -> tuple[str, list[ET.Element]]:
    """Switch acknowledgements on.

    Returns:
        What the stream can be resumed by, empty if it cannot; and what came before
        the server began to count.
    """
    wire.write(f"<enable xmlns='{SM}' resume='true'/>")
    early: list[ET.Element] = []
    while True:
        answer = await wire.next_element()
        if answer.tag == f"{{{SM}}}enabled":
            break
        if answer.tag == f"{{{SM}}}failed":
            raise SessionError("the server would not acknowledge messages")
        early.append(answer)
    can_resume = answer.get("resume") in {"true", "1"}
    return answer.get("id", "") if can_resume else "", early


async def ask(wire: Wire, payload: str, *, to: str = "") -> ET.Element:
    """Send a request before there is a session, and return its answer."""
    request_id = secrets.token_hex(16)
    address = f" to={quoteattr(to)}" if to else ""
    wire.write(f"<iq type='set' id='{request_id}'{address}>{payload}</iq>")
    answer = await wire.next_element()
    if answer.tag != "{jabber:client}iq" or answer.get("id") != request_id:
        raise _unexpected(answer)
    return answer


async def _sasl_text(wire: Wire, expected: str) -> str:
    """Return the text of the next SASL element, which has to be ``expected``."""
    answer = await wire.next_element()
    if answer.tag == f"{{{SASL}}}failure":
        raise _login_refused(answer)
    if answer.tag != f"{{{SASL}}}{expected}":
        raise _unexpected(answer)
    try:
        return base64.b64decode(answer.text or "", validate=True).decode()
    except ValueError:  # not base64, not even ASCII, or not UTF-8
        raise AuthenticationError("the server's login messages are malformed") from None


def _login_refused(failure: ET.Element) -> SessionError:
    reason = next(
        (child.tag.rpartition("}")[2] for child in failure), "no reason given"
    )
    if reason == _TEMPORARY:
        return SessionError("the server cannot check passwords just now", why=reason)
    return AuthenticationError(
        "the server refused the user name or the password",
        why=ascii(reason[:40]).strip("'"),
        fix="Check both; nothing is tried again by itself.",
    )


def _unexpected(answer: ET.Element) -> StreamViolationError:
    return StreamViolationError(
        "the server answered something that was not asked",
        condition="policy-violation",
        why=f"an element {answer.tag.rpartition('}')[2][:40]!a}",
    )


def stanza_error(answer: ET.Element) -> str:
    """Return the condition of a stanza's error, at most 40 letters of it.

    Its text is left out: it is of whoever answered, and we show errors to people.
    """
    for child in answer.iterfind("{jabber:client}error/*"):
        if child.tag.startswith(_STANZAS) and not child.tag.endswith("}text"):
            return child.tag.removeprefix(_STANZAS)[:40]
    return "no reason given"


def tls_context() -> ssl.SSLContext:
    """Return a context that takes any certificate: it is compared afterwards.

    No authority vouches for an onion. What counts is the certificate that is
    pinned, byte for byte, before anything is sent.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
