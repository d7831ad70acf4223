"""What a server says that it takes at once (XEP-0478)."""

import xml.etree.ElementTree as ET
from typing import Final

__all__ = ["read_limit"]

_LIMITS: Final = "{urn:xmpp:stream-limits:0}"
# What each server has to take (RFC 6120, 13.12): none that asks for smaller pieces
# shall have a message cut into thousands.
_LEAST_BYTES: Final = 10_000
# Of a number. More says nothing that is of use, and takes time to be read.
_DIGITS: Final = 12


def read_limit(features: ET.Element) -> int | None:
    """Return how many bytes one stanza of ours may have, or None if that is not said.

    Args:
        features: Of the stream, after we proved who we are.
    """
    text = features.findtext(f"{_LIMITS}limits/{_LIMITS}max-bytes", "").strip()
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS:
        return None
    return max(_LEAST_BYTES, int(text))
