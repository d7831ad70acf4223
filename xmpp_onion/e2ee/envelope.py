"""The content of a message, and the envelope that ``urn:xmpp:omemo:2`` puts around it.

Pure. The envelope (XEP-0420, stanza content encryption) is inside the encryption:
it carries more than a text, hides its length, and says who wrote to whom, so that
no server can present a message in another conversation.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from slixmpp.xmlstream.tostring import tostring

from xmpp_onion.address import JID
from xmpp_onion.errors import DecryptionError, InvalidJIDError
from xmpp_onion.languages import choose
from xmpp_onion.strict_xml import StrictReader

__all__ = ["Plain", "read_envelope", "write_envelope"]

SCE: Final = "urn:xmpp:sce:1"
_CLIENT: Final = "jabber:client"
_BODY: Final = f"{{{_CLIENT}}}body"
_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
# The length on the wire is one of these: powers of two up to the last, then its
# multiples. A short line and a long one, "yes" and "no", look alike.
_SMALLEST_BUCKET: Final = 256
_LARGEST_BUCKET: Final = 16 * 1024
# Bytes. No server takes stanzas of more than 512 KiB, and base64 adds a third.
_ENVELOPE_LIMIT: Final = 512 * 1024
# Elements in an envelope, and how deep: references, reactions and markers need
# ten and three.
_ELEMENTS: Final = 500
_DEPTH: Final = 16
# Elements beside the body, and their bytes.
_PAYLOADS: Final = 32
_PAYLOAD_BYTES: Final = 64 * 1024
_NO_MOVES: Final[Mapping[str, str]] = MappingProxyType({})
# XML 1.0, section 2.2: what no document can hold, not even escaped.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Plain:
    """The content of a message before encryption, or after decryption.

    Attributes:
        text: What was said; None if the message says nothing to a person.
        payload: What travels beside the text: replies, reactions, receipts. Only
            ``urn:xmpp:omemo:2`` carries it.
    """

    text: str | None = field(repr=False)
    payload: tuple[ET.Element, ...] = field(default=(), repr=False)


def write_envelope(plain: Plain, *, sender: JID, to: JID, now: datetime) -> bytes:
    """Return the envelope, padded to one of a few lengths.

    Characters that XML cannot hold become U+FFFD.

    Args:
        plain: The content.
        sender: Who writes; the bare JID goes in.
        to: The other side of the conversation: a contact, or a room.
        now: When.
    """
    content = "".join(tostring(element, xmlns=SCE) for element in plain.payload)
    if plain.text is not None:
        content = f'<body xmlns="{_CLIENT}">{escape(plain.text)}</body>{content}'
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = (
        f'<envelope xmlns="{SCE}"><content>{content}</content><time stamp="{stamp}"/>'
        f"<from jid={quoteattr(sender.bare)}/><to jid={quoteattr(to.bare)}/>"
    )
    start = _FORBIDDEN.sub("\ufffd", text).replace("\r", "&#13;")
    end = "</envelope>"
    bare = f"{start}<rpad></rpad>{end}".encode()
    padding = _random_text(_bucket(len(bare)) - len(bare))
    return f"{start}<rpad>{padding}</rpad>{end}".encode()


def _bucket(size: int) -> int:
    bucket = _SMALLEST_BUCKET
    while bucket < size and bucket < _LARGEST_BUCKET:
        bucket *= 2
    return bucket if size <= bucket else -(-size // _LARGEST_BUCKET) * _LARGEST_BUCKET


def _random_text(length: int) -> str:
    return secrets.token_urlsafe(length)[:length]


def read_envelope(
    data: bytes,
    *,
    sender: JID,
    to: JID,
    is_room: bool = False,
    former: Mapping[str, str] = _NO_MOVES,
    languages: Sequence[str] = (),
) -> Plain:
    """Return what is in an envelope that was meant for this conversation.

    The time in it is not used, and only has to be one. Which one does not matter:
    a clock of either side may stand at 1970, and both still have to be read.

    Args:
        data: What was decrypted.
        sender: Who sent it, as the server says.
        to: Whom the stanza is addressed to: our account, or a room.
        is_room: It came through a room, and must say so. Between two people
            XEP-0384, section 4.5.1, does not ask for a recipient, and some clients
            name none.
        former: Each name that our server had, and the one that it has: what was
            written before it moved names who we were.
        languages: Which text to take where there are several; their tags, best first.

    Raises:
        DecryptionError: It is malformed, too large, or names other people. The
            error holds nothing of the content, and neither does its cause.
    """
    if len(data) > _ENVELOPE_LIMIT:
        raise _refused("its content is too long")
    reader = StrictReader(depth=_DEPTH, elements=_ELEMENTS, bare=True)
    try:
        envelope = reader.read(data)
    except ValueError:
        raise _refused("its content is malformed") from None
    content = envelope.find(f"{{{SCE}}}content")
    if envelope.tag != f"{{{SCE}}}envelope" or content is None:
        raise _refused("its content is no envelope")
    if _named(envelope, "from", sender.bare, former) != {sender.bare}:
        raise _refused("its envelope does not name its sender")
    named = _named(envelope, "to", to.bare, former)
    if named != {to.bare} and (named or is_room):
        raise _refused("its envelope is for somebody else")
    if not all(_is_time(one) for one in envelope.findall(f"{{{SCE}}}time")):
        raise _refused("the time in its envelope is none")
    body = _choose_body(content, languages)
    payload = tuple(child for child in content if child.tag != _BODY)
    if len(payload) > _PAYLOADS or _is_large(payload, len(data)):
        raise _refused("too much stands beside its text")
    return Plain(None if body is None else body.text or "", payload)


def _choose_body(content: ET.Element, languages: Sequence[str]) -> ET.Element | None:
    """Return the text to show of several that say the same in other languages.

    Of two in one language the first counts: there must not be two.

    Source: RFC 6121, section 5.2.3; RFC 6120, section 8.1.5, what ``xml:lang`` means.
    """
    bodies = content.findall(_BODY)
    if len(bodies) < 2:
        return bodies[0] if bodies else None
    return bodies[choose([body.get(_LANG, "") for body in bodies], languages)]


def _named(
    envelope: ET.Element, name: str, expected: JID, former: Mapping[str, str]
) -> set[JID | None]:
    """Return the bare JIDs that an affix names; None stands for what is no JID.

    What is spelt as ``expected`` need not be parsed: that is most of what comes.
    """
    texts = (e.get("jid", "") for e in envelope.findall(f"{{{SCE}}}{name}"))
    return {expected if text == expected else _bare(text, former) for text in texts}


def _bare(text: str, former: Mapping[str, str]) -> JID | None:
    try:
        jid = JID(text).bare
        now = former.get(jid.domain.service)
        return jid if now is None else JID(jid.replace(jid.domain.service, now))
    except InvalidJIDError:
        return None


def _is_time(element: ET.Element) -> bool:
    try:
        datetime.fromisoformat(element.get("stamp", ""))
    except ValueError:
        return False
    return True


def _is_large(elements: tuple[ET.Element, ...], written: int) -> bool:
    """Tell whether elements are beyond what may stand beside a text.

    Args:
        elements: As they were read.
        written: The length of the envelope that they were in. What was in a short one
            need not be written out to be measured: nothing takes more than six times
            as many letters then (a quote in an attribute does), and what is declared
            once for all of them stands in each.
    """
    if 8 * written * max(1, len(elements)) <= _PAYLOAD_BYTES:
        return False
    return sum(len(ET.tostring(element)) for element in elements) > _PAYLOAD_BYTES


def _refused(why: str) -> DecryptionError:
    return DecryptionError("a message cannot be decrypted", why=why)
