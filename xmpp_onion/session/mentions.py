"""Whom a text mentions: accounts, named inside of an envelope, and never nicks.

Which of its words that are is not said, and not read: who is meant is the account.

Source: XEP-0372, section 3.2; RFC 5122 for the addresses.
"""

import re
import string
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.session.stanzas import read_jid

__all__ = ["MENTION_LIMIT", "read_mentions", "write_mentions"]

REFERENCE: Final = "{urn:xmpp:reference:0}reference"
MENTION_LIMIT: Final = 20
"""More than a person means by it; who means all of a room says so in words."""
_SCHEME: Final = "xmpp:"
_PLAIN: Final = frozenset(f"{string.ascii_letters}{string.digits}-._~@".encode())
_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def write_mentions(people: Iterable[JID]) -> list[ET.Element]:
    """Return an element for each account."""
    return [
        ET.Element(REFERENCE, {"type": "mention", "uri": _SCHEME + _escape(jid)})
        for jid in people
    ]


def read_mentions(payload: Iterable[ET.Element]) -> tuple[JID, ...]:
    """Return different accounts, bare, in their order; what is none is left out."""
    found = [
        each
        for each in payload
        if each.tag == REFERENCE and each.get("type") == "mention"
    ]
    uris = (each.get("uri", "") for each in found[:MENTION_LIMIT])
    jids = (
        read_jid(_unescape(uri.removeprefix(_SCHEME)))
        for uri in uris
        if uri.startswith(_SCHEME)
    )
    return tuple(dict.fromkeys(jid.bare for jid in jids if jid and jid.local))


def _escape(text: str) -> str:
    return "".join(
        chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode()
    )


def _unescape(text: str) -> str:
    """Return what was escaped; bytes that are no text make an address of nobody."""
    whole = text.encode(errors="replace")
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), whole).decode(
        errors="replace"
    )
