"""All of a login in one question: SASL2 with Bind 2, tokens and acknowledgements.

Nothing here does I/O: the question as text, and its answer read.

Source: XEP-0388 (SASL2), XEP-0386 (Bind 2), XEP-0484 (tokens), XEP-0198.
"""

import base64
import hashlib
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import quoteattr

import slixmpp.jid

from xmpp_onion.address import JID
from xmpp_onion.errors import AuthenticationError, SessionError
from xmpp_onion.session.proof import TOKEN_MECHANISM, Proof, TokenProof

__all__ = [
    "BIND2",
    "FAST",
    "SASL2",
    "SM",
    "Success",
    "enable",
    "make_question",
    "read_bound",
    "read_success",
    "require_own",
    "resume",
]

SASL2: Final = "urn:xmpp:sasl:2"
"""The namespace of XEP-0388."""
BIND2: Final = "urn:xmpp:bind:0"
"""The namespace of XEP-0386."""
FAST: Final = "urn:xmpp:fast:0"
"""The namespace of XEP-0484."""
SM: Final = "urn:xmpp:sm:3"
"""The namespace of XEP-0198."""
# Of a device's random name: what the server makes its resource from.
_TAG_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Success:
    """What the server said to a login.

    Args:
        who: The full JID, or the bare one where no resource was asked for.
        shown: What proves that it knows our secret.
        token: For the next login; empty is none.
        resumption: ``resumed`` or ``failed``, if an earlier stream was asked for.
        enabled: What acknowledgements were switched on with, if that was asked here.
        is_bound: Whether we have a resource.
    """

    who: str
    shown: bytes = field(repr=False)
    token: str = field(repr=False)
    resumption: ET.Element | None
    enabled: ET.Element | None
    is_bound: bool


def enable() -> str:
    """Return the question for acknowledgements, on a new stream."""
    return f"<enable xmlns='{SM}' resume='true'/>"


def resume(stream_id: str, handled: int) -> str:
    """Return the question for an earlier stream.

    Args:
        stream_id: What the server called it.
        handled: How many of its stanzas we have handled.
    """
    return f"<resume xmlns='{SM}' h='{handled}' previd={quoteattr(stream_id)}/>"


def make_question(
    proof: Proof,
    *,
    device: str,
    wants_token: bool,
    resuming: str,
    binds: bool,
    acks: bool,
) -> str:
    """Return the login.

    Args:
        proof: Who we are.
        device: Names this device, to this server alone; tokens are bound to it.
        wants_token: Ask for a token.
        resuming: The question for an earlier stream; empty for none.
        binds: Ask for a resource; of a stream that is resumed it is the second choice.
        acks: Ask for acknowledgements with it.
    """
    parts = [
        f"<initial-response>{encode(proof.first())}</initial-response>",
        f"<user-agent id='{_agent_id(device)}'/>",
    ]
    if wants_token:
        parts.append(f"<request-token xmlns='{FAST}' mechanism='{TOKEN_MECHANISM}'/>")
    if isinstance(proof, TokenProof):
        parts.append(f"<fast xmlns='{FAST}'/>")
    parts.append(resuming)
    if binds:
        tag = f"<tag>{device[:_TAG_LENGTH]}</tag>"
        parts.append(f"<bind xmlns='{BIND2}'>{tag}{enable() if acks else ''}</bind>")
    inside = "".join(parts)
    return (
        f"<authenticate xmlns='{SASL2}' mechanism='{proof.mechanism}'>"
        f"{inside}</authenticate>"
    )


def _agent_id(device: str) -> str:
    """Return the device's name in the form that XEP-0388 wants, and not itself."""
    digest = hashlib.sha256(f"xmpp-onion user agent\0{device}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def read_success(answer: ET.Element) -> Success:
    """Return what a ``<success/>`` says.

    Raises:
        SessionError: The server gives us no resource.
        AuthenticationError: It is malformed.
    """
    bound = answer.find(f"{{{BIND2}}}bound")
    if answer.find(f"{{{BIND2}}}failed") is not None:
        raise SessionError(
            "the server gives us no resource",
            fix="Try again in a moment; log out other devices if it stays.",
        )
    token = answer.find(f"{{{FAST}}}token")
    return Success(
        who=answer.findtext(f"{{{SASL2}}}authorization-identifier", ""),
        shown=decode(answer.findtext(f"{{{SASL2}}}additional-data", "")),
        token="" if token is None else token.get("token", ""),
        resumption=_acks_in(answer),
        enabled=_acks_in(bound),
        is_bound=bound is not None,
    )


def _acks_in(node: ET.Element | None) -> ET.Element | None:
    """Return what XEP-0198 has to say among the children of ``node``."""
    children = () if node is None else node
    return next((each for each in children if each.tag.startswith(f"{{{SM}}}")), None)


def read_bound(text: str, account: JID) -> slixmpp.jid.JID:
    """Return the full JID that a server says is ours.

    Raises:
        AuthenticationError: It is somebody else's.
    """
    try:
        bound = slixmpp.jid.JID(text)
    except slixmpp.jid.InvalidJID:
        bound = slixmpp.jid.JID("")
    require_own(bound.bare if bound.resource else "", account)
    return bound


def require_own(bare: str, account: JID) -> None:
    """Make sure that a server calls us by our name.

    Raises:
        AuthenticationError: It is somebody else's.
    """
    if bare != account.bare:
        raise AuthenticationError(
            "the server logged us in as somebody else",
            fix="Nothing was sent. Do not use this server before its operator "
            "has explained it.",
        )


def encode(message: bytes) -> str:
    """Return a message of a login as it is sent."""
    return base64.b64encode(message).decode()


def decode(text: str | None) -> bytes:
    """Return a message of a login as it was meant.

    Raises:
        AuthenticationError: It is not base64.
    """
    try:
        return base64.b64decode(text or "", validate=True)
    except ValueError:  # not base64, not even ASCII
        raise AuthenticationError(
            "the server's login messages are malformed",
            fix="This may be no XMPP server: ask its operator.",
        ) from None
