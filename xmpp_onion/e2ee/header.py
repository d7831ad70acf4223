"""Whom an encrypted element is from and for, as it stands in its header.

Nothing of it is authenticated. Both versions of OMEMO have the same names here;
the newer one groups the keys by account.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.strict_xml import canonical

__all__ = ["essence", "reader_ids", "sender_ids", "withdraw"]

# Ten digits hold every id; Python refuses to read thousands of them.
_NUMBER = re.compile("[0-9]{1,10}")


def sender_ids(elements: Iterable[ET.Element]) -> frozenset[int]:
    """Return the devices that the elements say they are from."""
    return frozenset(
        _number(header.get("sid", ""))
        for element in elements
        for header in _children(element, "header")
    )


def reader_ids(elements: Iterable[ET.Element]) -> frozenset[int]:
    """Return the devices that the elements have a key for, of whatever account."""
    return frozenset(
        _number(key.get("rid", ""))
        for element in elements
        for _, key in _keys(element, None)
    )


def essence(elements: Iterable[ET.Element], owner: JID, device: int) -> list[str]:
    """Return what decides what a device reads; nothing if it has no key there.

    Two copies of one message have the same, though a server left out the keys of
    other devices or gave one of them another name; two messages never have.

    Args:
        elements: Of one stanza.
        owner: Whose device it is.
        device: Its number.
    """
    found: list[str] = []
    for element in elements:
        keys = [
            canonical(key)
            for _, key in _keys(element, owner.bare)
            if _number(key.get("rid", "")) == device
        ]
        if keys:
            headers = _children(element, "header")
            vectors = [iv for header in headers for iv in _children(header, "iv")]
            firsts = (vectors[:1], _children(element, "payload")[:1])
            texts = [one[0].text or "" if one else "" for one in firsts]
            senders = sorted(sender_ids([element]))
            found += [element.tag, str(senders), *texts, str(len(keys)), *keys]
    return found


def withdraw(
    elements: Iterable[ET.Element], owner: JID, devices: Collection[int]
) -> int:
    """Take the keys for some devices out of the elements; return how many.

    Args:
        elements: They are changed.
        owner: Whose devices they are. The older version does not say whose a key
            is: there one of another account with the same number goes as well.
        devices: Their numbers.
    """
    found = [
        (parent, key)
        for element in elements
        for parent, key in _keys(element, owner.bare)
        if _number(key.get("rid", "")) in devices
    ]
    for parent, key in found:
        parent.remove(key)
    return len(found)


def _keys(
    element: ET.Element, owner: JID | None
) -> Iterator[tuple[ET.Element, ET.Element]]:
    for header in _children(element, "header"):
        for group in (header, *_children(header, "keys")):
            if owner is None or group.get("jid", owner) == owner:
                for key in _children(group, "key"):
                    yield group, key


def _children(parent: ET.Element, name: str) -> list[ET.Element]:
    """Return the children of a name, in whatever namespace.

    ElementTree finds them by ``{*}name`` as well, in five times as long.
    """
    return [each for each in parent if each.tag.rpartition("}")[2] == name]


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
