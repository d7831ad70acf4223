"""Reads RSS and Atom, which strangers write: no document type, and limits.

Nothing is fetched for it: ``Client.fetch()`` gets a page of an onion.
"""

from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from xmpp_onion.strict_xml import StrictReader

__all__ = ["Entry", "read_feed"]

# A feed of a hundred entries has two thousand elements, five deep; what an entry
# holds in XHTML counts as well.
_ELEMENTS: Final = 20_000
_DEPTH: Final = 32
_ENTRIES: Final = 200
# Letters of a title, and of an address: the rest is of no use in a line.
_TITLE: Final = 200
_ADDRESS: Final = 2000
_ATOM: Final = "{http://www.w3.org/2005/Atom}"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a feed tells. All of it is its author's word.

    Attributes:
        id: What tells it from others.
        title: One line.
        link: Where it is, as it is written there.
    """

    id: str
    title: str
    link: str


def read_feed(data: bytes) -> tuple[Entry, ...]:
    """Return what a feed tells, in its order: 200 entries at most.

    Args:
        data: RSS 0.9 to 2.0 or Atom, in UTF-8 whatever it says itself.

    Raises:
        ValueError: It is none, has a document type, or breaks a limit.
    """
    reader = StrictReader(depth=_DEPTH, elements=_ELEMENTS, bare=False)
    root = reader.read(data)
    items = [
        each for each in root.iter() if each.tag.rpartition("}")[2] in {"item", "entry"}
    ]
    found = [_entry(item) for item in items[:_ENTRIES]]
    return tuple(entry for entry in found if entry.id)


def _entry(item: ET.Element) -> Entry:
    title = _text(item, "title")[:_TITLE]
    link = _text(item, "link")
    for each in item.iter(f"{_ATOM}link"):
        if each.get("rel", "alternate") == "alternate":
            link = each.get("href", "")
            break
    link = link[:_ADDRESS]
    name = _text(item, "guid") or _text(item, "id") or link or title
    return Entry(name[:_ADDRESS], title, link)


def _text(item: ET.Element, name: str) -> str:
    """Return the text of the first child of this name, on one line."""
    for child in item:
        if child.tag.rpartition("}")[2] == name:
            return " ".join("".join(child.itertext()).split())
    return ""
