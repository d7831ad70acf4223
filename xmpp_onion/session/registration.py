"""How an account is made: an invite, a name, a password.

Source: XEP-0077 (in-band registration); XEP-0445 (the invite's token).
"""

import asyncio
import xml.etree.ElementTree as ET
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from xmpp_onion.address import JID, Invite
from xmpp_onion.errors import (
    DialTimeoutError,
    FeatureMissingError,
    RegistrationError,
    SessionError,
)
from xmpp_onion.session.login import DIAL_TIMEOUT, LOGIN_TIMEOUT, Dialer
from xmpp_onion.session.questions import ask, stanza_error
from xmpp_onion.session.remembered import Remembered
from xmpp_onion.session.tls import START_TLS, needs_tls, require_tls, start_tls
from xmpp_onion.session.wire import Connection, Wire
from xmpp_onion.transport import Isolation, Purpose

__all__ = ["Registered", "register", "register_and_learn"]

PREAUTH: Final = "urn:xmpp:pars:0"
REGISTER: Final = "jabber:iq:register"
# Seconds until another circuit is tried, once: one that got stuck keeps each later
# dial of its isolation waiting.
_PATIENCE: Final = DIAL_TIMEOUT / 2


@dataclass(frozen=True, slots=True)
class Registered:
    """An account that was made.

    Args:
        certificate: What the server showed, SHA-256 in hex; empty without TLS.
        known: How the server lets people in, so that the first login need not ask.
    """

    certificate: str
    known: Remembered


async def register(
    invite: Invite,
    username: str,
    password: str,
    *,
    tor: Dialer,
    port: int = 5222,
    tls: bool = True,
) -> str:
    """Make an account as :func:`register_and_learn`; return the certificate alone."""
    made = await register_and_learn(
        invite, username, password, tor=tor, port=port, tls=tls
    )
    return made.certificate


async def register_and_learn(
    invite: Invite,
    username: str,
    password: str,
    *,
    tor: Dialer,
    port: int = 5222,
    tls: bool = True,
) -> Registered:
    """Make an account with an invite; return the certificate that was seen, too.

    The certificate is the SHA-256 in hex of what the server showed (empty without
    TLS): pin it. If the invite names one, the server had to show that one.

    Args:
        invite: Works once.
        username: The local part of the new JID.
        password: Make it with ``secrets``; the server gets it in the clear, inside
            TLS and the onion service, this once.
        tor: What dials.
        port: The service's virtual port.
        tls: False leaves encryption to the onion service alone, where the server
            lets people in so.

    Raises:
        RegistrationError: The invite is used, expired or unknown, or the name is
            taken; ``why`` tells which.
        CertificateError: Another certificate than the invite's; nothing was sent.
        TorError: The server could not be reached.
    """
    jid = JID(f"{username}@{invite.onion}")
    if invite.local and invite.local != jid.local:
        raise RegistrationError(
            "this invite is for another name",
            why="the operator made it for one name",
            fix=f"Register as {invite.local}, or ask for another invite.",
        )
    sock = await _dial(tor, jid, port)
    wire = Wire()
    try:
        async with asyncio.timeout(LOGIN_TIMEOUT):
            await wire.attach(sock)
            features = await wire.open_stream(invite.onion)
            known, certificate = _learn(Remembered().learn_tls(features), features), ""
            if tls or needs_tls(features):
                require_tls(features)
                wire.write(START_TLS)
                certificate = await start_tls(wire, invite.onion, invite.cert_sha256)
                features = await wire.open_stream(invite.onion)
                known = known if known.is_current else _learn(known, features)
            await _make_account(wire, invite, jid.local, password)
        await wire.close(grace=1.0)
    except TimeoutError:
        raise SessionError("the registration took too long", fix="Try again.") from None
    finally:
        await wire.close()
        sock.close()
    return Registered(certificate, known)


def _learn(known: Remembered, features: ET.Element) -> Remembered:
    """Return what is known, with how people log in if the server says it here."""
    with suppress(FeatureMissingError):  # not before TLS, or in no way of ours
        return known.learn(features)
    return known


async def _dial(tor: Dialer, jid: JID, port: int) -> Connection:
    first = Isolation(jid, Purpose.REGISTER)
    second = replace(first, turn=1)
    with suppress(DialTimeoutError):
        return await tor.dial(jid.domain, port, isolation=first, timeout=_PATIENCE)
    return await tor.dial(jid.domain, port, isolation=second, timeout=_PATIENCE)


async def _make_account(wire: Wire, invite: Invite, user: str, password: str) -> None:
    # XEP-0445, section 4.
    answer = await ask(
        wire,
        f"<preauth xmlns='{PREAUTH}' token={quoteattr(invite.token)}/>",
        to=invite.onion,
    )
    if answer.get("type") != "result":
        raise _invite_refused(stanza_error(answer))
    answer = await ask(
        wire,
        f"<query xmlns='{REGISTER}'><username>{escape(user)}</username>"
        f"<password>{escape(password)}</password></query>",
    )
    if answer.get("type") == "result":
        return
    reason = stanza_error(answer)
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
