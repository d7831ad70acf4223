"""Cuts what is encrypted for very many devices into stanzas that a server takes.

Pure. Each part has the same content and other keys, so whoever has a key in one of
them can read it there. Nothing has to be put together again.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from xmpp_onion.errors import EncryptionError

__all__ = ["SIZE_LIMIT", "room_within", "size", "split"]

SIZE_LIMIT: Final = 240 * 1024
"""Bytes of ``<encrypted/>`` elements in one stanza.

Prosody ends the stream of a client that sends more than 256 KiB at once; the rest is
for what stands around them.
"""

# A stanza without what stands in it: the longest name that a room may have, ids,
# hints, a word on encryption.
_AROUND_BYTES: Final = 2 * 1024


def room_within(stanza_bytes: int | None, beside: Sequence[ET.Element] = ()) -> int:
    """Return the bytes that the ``<encrypted/>`` elements of one stanza may take.

    Args:
        stanza_bytes: What the server takes at once; None if it does not say so.
            More than is usual is not made use of: others' servers take no more.
        beside: What stands beside them in each stanza.
    """
    if stanza_bytes is None:
        return SIZE_LIMIT
    return min(SIZE_LIMIT, stanza_bytes - _AROUND_BYTES - size(beside))


def size(elements: Sequence[ET.Element]) -> int:
    """Return how many bytes elements take on the wire, or a few more."""
    return sum(len(ET.tostring(element, "utf-8")) for element in elements)


def split(
    elements: Sequence[ET.Element], limit_bytes: int = SIZE_LIMIT
) -> tuple[tuple[ET.Element, ...], ...]:
    """Return the elements, one tuple for each stanza; mostly one.

    Args:
        elements: The ``<encrypted/>`` elements of one message; not changed.
        limit_bytes: What those of one stanza may take.

    Raises:
        EncryptionError: The content alone takes more.
    """
    if size(elements) <= limit_bytes:
        return (tuple(elements),)
    return tuple(
        (part,) for element in elements for part in _split_one(element, limit_bytes)
    )


def _split_one(element: ET.Element, limit_bytes: int) -> Iterator[ET.Element]:
    """Yield copies of an element; each key is in exactly one of them."""
    empty = _without_keys(element)
    room = limit_bytes - size([empty])
    part, left = _without_keys(element), room
    for group, key in _keys(element):
        # The group's own tag is counted with each key: never too little.
        need = size([key]) + (0 if group is None else size([_bare(group)]))
        if need > room:
            raise EncryptionError(
                "nothing was sent",
                why="the message is longer than a server takes",
                fix="Send it in pieces, or as a file.",
            )
        if need > left:
            yield part
            part, left = _without_keys(element), room
        left -= need
        _put(part, group, key)
    yield part


def _keys(element: ET.Element) -> Iterator[tuple[ET.Element | None, ET.Element]]:
    """Yield each key with the group that it stands in; the older version has none."""
    for header in element.iterfind("{*}header"):
        for child in header:
            if child.tag.endswith("}keys"):
                for key in child:
                    yield child, key
            elif child.tag.endswith("}key"):
                yield None, child


def _without_keys(element: ET.Element) -> ET.Element:
    twin = copy.deepcopy(element)
    for header in twin.iterfind("{*}header"):
        for child in list(header):
            if child.tag.endswith(("}keys", "}key")):
                header.remove(child)
    return twin


def _bare(group: ET.Element) -> ET.Element:
    return ET.Element(group.tag, group.attrib)


def _put(part: ET.Element, group: ET.Element | None, key: ET.Element) -> None:
    """Put a key where it stood: the older version wants all keys before the vector."""
    header = next(part.iterfind("{*}header"))
    if group is None:
        header.insert(len(header.findall("{*}key")), key)
        return
    for known in header.iterfind("{*}keys"):
        if known.get("jid") == group.get("jid"):
            known.append(key)
            return
    ET.SubElement(header, group.tag, group.attrib).append(key)
