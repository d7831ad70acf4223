"""Who we are: TLS, SASL, and the session that the server gives us.

Each step is one function that sends and waits, in the order of RFC 6120. What
the server offers is looked at only where this package wants something; nothing
it offers besides is taken up.
"""

import asyncio
import base64
import binascii
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

from xmpp_onion.address import JID, Invite, OnionAddress
from xmpp_onion.errors import (
    AuthenticationError,
    CertificateError,
    FeatureMissingError,
    RegistrationError,
    SessionError,
    StreamViolationError,
)
from xmpp_onion.session.client_xmpp import SM, OnionClient
from xmpp_onion.session.scram import Scram, choose_mechanism
from xmpp_onion.transport import Isolation, Purpose

__all__ = ["Connection", "Credentials", "Dialer", "log_in", "register"]

log = logging.getLogger(__name__)

TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
PREAUTH: Final = "urn:xmpp:pars:0"
REGISTER: Final = "jabber:iq:register"
_STANZAS: Final = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
# Eight round trips over a slow circuit, with room.
LOGIN_TIMEOUT: Final = 90.0
DIAL_TIMEOUT: Final = 60.0
# The server cannot check the password just now; it says nothing about ours.
_TEMPORARY: Final = "temporary-auth-failure"


class Connection(Protocol):
    """A connected socket; only :mod:`xmpp_onion.transport` knows its type."""

    def close(self) -> None:
        """Close it."""


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
    """

    resumed: bool
    certificate: str
    early: list[ET.Element]


async def log_in(client: OnionClient, who: Credentials) -> Login:
    """Take a fresh connection through login, to a resumed or a new session.

    Raises:
        AuthenticationError: The server refuses us, or is an impostor. There is
            one attempt with one mechanism, and nothing weaker after it.
        CertificateError: It shows another certificate; nothing was sent.
        FeatureMissingError: It lacks TLS, SCRAM-SHA-256 or XEP-0198.
        SessionError: Anything that another attempt may cure.
    """
    features = await client.open_stream()
    certificate = ""
    if who.tls:
        certificate = await start_tls(client, features, who.jid.domain, who.certificate)
        features = await client.open_stream()
    await authenticate(client, features, who.jid.local, who.password)
    features = await client.open_stream()
    if features.find(f"{{{SM}}}sm") is None:
        raise FeatureMissingError(
            "the server does not acknowledge messages",
            feature="XEP-0198",
            fix='The operator adds "smacks" to modules_enabled of Prosody.',
        )
    if client.resume_id and await resume(client):
        return Login(resumed=True, certificate=certificate, early=[])
    await bind(client, who.jid)
    early = await enable_acks(client)
    return Login(resumed=False, certificate=certificate, early=early)


async def start_tls(
    client: OnionClient, features: ET.Element, domain: OnionAddress, pinned: str
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
            fix="Ask the operator; add the account with `--no-tls` only if the "
            "server really has none.",
        )
    client.write(f"<starttls xmlns='{TLS}'/>")
    answer = await client.next_element()
    if answer.tag != f"{{{TLS}}}proceed":
        raise SessionError("the server did not start TLS")
    try:
        der = await client.start_tls_now(domain, LOGIN_TIMEOUT)
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
    client: OnionClient, features: ET.Element, user: str, password: str
) -> None:
    """Log in with the strongest SCRAM that both sides have; one attempt.

    Source: RFC 6120, section 6; RFC 5802.
    """
    mechanisms = (node.text or "" for node in features.iter(f"{{{SASL}}}mechanism"))
    scram = Scram(choose_mechanism(mechanisms), user, password)
    client.write(
        f"<auth xmlns='{SASL}' mechanism='{scram.mechanism}'>"
        f"{_encode(scram.first_message())}</auth>"
    )
    challenge = scram.read_challenge(await _sasl_text(client, "challenge"))
    # Up to half a second of hashing: not in the event loop.
    answer = await asyncio.to_thread(scram.answer, challenge)
    client.write(f"<response xmlns='{SASL}'>{_encode(answer)}</response>")
    scram.verify(await _sasl_text(client, "success"))


async def resume(client: OnionClient) -> bool:
    """Ask for the earlier stream; False if the server has forgotten it."""
    handled = client.incoming.handled
    client.write(
        f"<resume xmlns='{SM}' h='{handled}' previd={quoteattr(client.resume_id)}/>"
    )
    answer = await client.next_element()
    if answer.tag == f"{{{SM}}}resumed":
        client.take_ack(answer)
        client.resumed_at(handled)
        return True
    if answer.tag != f"{{{SM}}}failed":
        raise _unexpected(answer)
    count = answer.get("h", "")
    client.forget_stream(int(count) if count.isdigit() and len(count) < 12 else None)
    return False


async def bind(client: OnionClient, account: JID) -> None:
    """Get a resource, and make sure that it is one of our own account."""
    resource = escape(client.requested_jid.resource)
    answer = await _ask(
        client, f"<bind xmlns='{BIND}'><resource>{resource}</resource></bind>"
    )
    if answer.get("type") != "result":
        raise SessionError("the server gives us no resource", why=_stanza_error(answer))
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
    client.take_bound(bound)


async def enable_acks(client: OnionClient) -> list[ET.Element]:
    """Switch acknowledgements on; return what came before they were."""
    client.write(f"<enable xmlns='{SM}' resume='true'/>")
    early: list[ET.Element] = []
    while True:
        answer = await client.next_element()
        if answer.tag == f"{{{SM}}}enabled":
            break
        if answer.tag == f"{{{SM}}}failed":
            raise SessionError("the server would not acknowledge messages")
        early.append(answer)
    can_resume = answer.get("resume") in {"true", "1"}
    client.resume_id = answer.get("id", "") if can_resume else ""
    return early


async def register(
    invite: Invite,
    username: str,
    password: str,
    *,
    tor: Dialer,
    port: int = 5222,
    tls: bool = True,
) -> str:
    """Make an account with an invite; return the certificate that was seen.

    The certificate is the SHA-256 in hex of what the server showed (empty without
    TLS): pin it. If the invite names one, the server had to show that one.

    Args:
        invite: Works once.
        username: The local part of the new JID.
        password: Make it with ``secrets``; the server gets it in the clear, inside
            TLS and the onion service, this once.
        tor: What dials.
        port: The service's virtual port.
        tls: False leaves encryption to the onion service alone.

    Raises:
        RegistrationError: The invite is used, expired or unknown, or the name is
            taken; ``why`` tells which.
        CertificateError: Another certificate than the invite's; nothing was sent.
        TorError: The server could not be reached.
    """
    jid = JID(f"{username}@{invite.onion}")
    client = OnionClient(jid)
    isolation = Isolation(jid, Purpose.REGISTER)
    sock = await tor.dial(invite.onion, port, isolation=isolation, timeout=DIAL_TIMEOUT)
    try:
        async with asyncio.timeout(LOGIN_TIMEOUT):
            await client.attach(sock)
            features = await client.open_stream()
            certificate = ""
            if tls:
                certificate = await start_tls(
                    client, features, invite.onion, invite.cert_sha256
                )
                await client.open_stream()
            await _make_account(client, invite, jid.local, password)
        await client.close(grace=1.0)
    except TimeoutError:
        raise SessionError("the registration took too long", fix="Try again.") from None
    finally:
        await client.close(grace=0.0)
        sock.close()
    return certificate


async def _make_account(
    client: OnionClient, invite: Invite, user: str, password: str
) -> None:
    # XEP-0445, section 4.
    answer = await _ask(
        client,
        f"<preauth xmlns='{PREAUTH}' token={quoteattr(invite.token)}/>",
        to=invite.onion,
    )
    if answer.get("type") != "result":
        raise _invite_refused(_stanza_error(answer))
    answer = await _ask(
        client,
        f"<query xmlns='{REGISTER}'><username>{escape(user)}</username>"
        f"<password>{escape(password)}</password></query>",
    )
    if answer.get("type") == "result":
        return
    reason = _stanza_error(answer)
    if reason == "conflict":
        raise RegistrationError(
            "this name is taken",
            why="the server has an account of that name",
            fix="Choose another name; the invite is still good.",
        )
    raise _invite_refused(reason)


def _invite_refused(reason: str) -> RegistrationError:
    return RegistrationError(
        "the server does not accept this invite",
        why=f"it was used, has expired, or is unknown there ({reason})",
        fix="Ask for a new one; the operator makes it with "
        "`xmpp-onion server invite DIR`.",
    )


async def _ask(client: OnionClient, payload: str, *, to: str = "") -> ET.Element:
    """Send a request before there is a session, and return its answer."""
    request_id = secrets.token_hex(16)
    address = f" to={quoteattr(to)}" if to else ""
    client.write(f"<iq type='set' id='{request_id}'{address}>{payload}</iq>")
    answer = await client.next_element()
    if answer.tag != "{jabber:client}iq" or answer.get("id") != request_id:
        raise _unexpected(answer)
    return answer


async def _sasl_text(client: OnionClient, expected: str) -> str:
    """Return the text of the next SASL element, which has to be ``expected``."""
    answer = await client.next_element()
    if answer.tag == f"{{{SASL}}}failure":
        raise _login_refused(answer)
    if answer.tag != f"{{{SASL}}}{expected}":
        raise _unexpected(answer)
    try:
        return base64.b64decode(answer.text or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
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


def _stanza_error(answer: ET.Element) -> str:
    for child in answer.iterfind("{jabber:client}error/*"):
        if child.tag.startswith(_STANZAS) and not child.tag.endswith("}text"):
            return child.tag.removeprefix(_STANZAS)[:40]
    return "no reason given"


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
