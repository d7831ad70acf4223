"""The two OMEMO versions: their nodes, and their elements from and to values.

``urn:xmpp:omemo:2`` (XEP-0384, version 0.8 and 0.9) encrypts whole contents; the
older ``eu.siacs.conversations.axolotl`` (version 0.3) only texts, and is what most
clients speak. What they call their nodes is here, and who an element is for; what we
write is in `elements`, what we read in `published`.
"""

import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.e2ee.elements import write_bundle, write_device_list, write_message
from xmpp_onion.e2ee.published import read_bundle, read_device_list

__all__ = [
    "NAMESPACES",
    "OMEMO_2",
    "OMEMO_OLD",
    "Node",
    "addressed",
    "bundle_node",
    "list_node",
    "read_bundle",
    "read_device_list",
    "sender_id",
    "write_bundle",
    "write_device_list",
    "write_message",
]

OMEMO_2: Final = "urn:xmpp:omemo:2"
OMEMO_OLD: Final = "eu.siacs.conversations.axolotl"

NAMESPACES: Final = (OMEMO_2, OMEMO_OLD)
"""The newest first: a device gets the first one that it speaks."""

# Ten digits hold every id; Python refuses to read thousands of them.
_NUMBER: Final = re.compile("[0-9]{1,10}")

Node = tuple[str, str]
"""The name of a PEP node, and the id of the item in it."""


def list_node(namespace: str) -> Node:
    """Return where an account publishes its device list."""
    if namespace == OMEMO_2:
        return f"{OMEMO_2}:devices", "current"
    return f"{OMEMO_OLD}.devicelist", "current"


def bundle_node(namespace: str, device_id: int) -> Node:
    """Return where a device publishes its bundle.

    The newer version keeps those of all devices in one node.
    """
    if namespace == OMEMO_2:
        return f"{OMEMO_2}:bundles", str(device_id)
    return f"{OMEMO_OLD}.bundles:{device_id}", "current"


def addressed(
    elements: Sequence[ET.Element], own: JID, device_id: int
) -> tuple[str, ET.Element] | None:
    """Return the newest element with a key for a device, and its version.

    Args:
        elements: The ``<encrypted/>`` elements of one stanza.
        own: Whose device, bare.
        device_id: Its number.
    """
    own = own.bare
    for namespace in NAMESPACES:
        for element in elements:
            if element.tag == f"{{{namespace}}}encrypted" and any(
                _number(key.get("rid", "")) == device_id
                for key in _keys(namespace, element, own)
            ):
                return namespace, element
    return None


def _keys(namespace: str, element: ET.Element, own: JID) -> list[ET.Element]:
    """Return the keys that may be for an account; the older version names none."""
    if namespace == OMEMO_OLD:
        return element.findall(f"{{{namespace}}}header/{{{namespace}}}key")
    # Each in a step of its own: a path is much slower.
    return [
        key
        for header in element.findall(f"{{{namespace}}}header")
        for keys in header.findall(f"{{{namespace}}}keys")
        if keys.get("jid") == own
        for key in keys.findall(f"{{{namespace}}}key")
    ]


def sender_id(element: ET.Element) -> int:
    """Return the device id that an element claims to come from; 0 if it has none."""
    found = (each for each in element if each.tag.rpartition("}")[2] == "header")
    header = next(found, None)
    return _number("" if header is None else header.get("sid", ""))


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
