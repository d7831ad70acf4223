"""What comes in the clear about messages of ours: confirmations and errors.

Nothing here is authenticated. A server on the way can make all of it up; so it
moves the state of a delivery and does nothing else.

Source: XEP-0184, XEP-0333; RFC 6120, section 8.3 for errors.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import DeliveryState
from xmpp_onion.session.moved import read_moved

__all__ = ["Notice", "read_confirmation", "read_error"]

RECEIPTS: Final = "urn:xmpp:receipts"
MARKERS: Final = "urn:xmpp:chat-markers:0"
_STANZAS: Final = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
_ID_LIMIT: Final = 1024
# What a person can do something with; the other conditions are named as they are.
_IN_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "service-unavailable": "the account does not exist, or takes no messages",
        "item-not-found": "the account does not exist",
        "recipient-unavailable": "the recipient is away, and nothing is kept",
        "remote-server-not-found": "the recipient's server cannot be found",
        "remote-server-timeout": "the recipient's server cannot be reached",
        "not-allowed": "the recipient's server does not allow it",
        "forbidden": "the recipient does not allow it",
        "not-acceptable": "the recipient has blocked us, or we them",
        "policy-violation": "the server says that it breaks a rule, perhaps its size",
        "resource-constraint": "the recipient's server has no room for it",
        "gone": "the recipient has moved to another address",
    }
)


@dataclass(frozen=True, slots=True)
class Notice:
    """What the other side, or a server, says about a message of ours.

    Args:
        target: The id of our message.
        state: RECEIVED, DISPLAYED or FAILED.
        by: Whose word it is, a bare JID; None if it is our own server's.
        reason: Why it failed, in words.
        moved: What their server says about where they are now; not verified.
    """

    target: str
    state: DeliveryState
    by: JID | None
    reason: str = ""
    moved: str = ""


def read_confirmation(element: ET.Element, sender: JID) -> Notice | None:
    """Return what a message confirms (XEP-0184, XEP-0333), if anything."""
    for tag, state in (
        (f"{{{MARKERS}}}displayed", DeliveryState.DISPLAYED),
        (f"{{{RECEIPTS}}}received", DeliveryState.RECEIVED),
    ):
        found = element.find(tag)
        target = "" if found is None else found.get("id", "")[:_ID_LIMIT]
        if target:
            return Notice(target, state, sender.bare)
    return None


def read_error(element: ET.Element, sender: JID, own: JID) -> Notice | None:
    """Return that a message of ours came back, and why (RFC 6120, section 8.3).

    We write to bare JIDs, so an error of a full one is that of a single device: the
    others, and the archive, have the message all the same.
    """
    target = element.get("id", "")[:_ID_LIMIT]
    if not target or sender != sender.bare:
        return None
    is_ours = sender in {own.bare, JID(own.domain)}
    by = None if is_ours else sender.bare
    moved = read_moved(element)
    return Notice(target, DeliveryState.FAILED, by, _reason(element), moved)


def _reason(element: ET.Element) -> str:
    for child in element.iterfind("{jabber:client}error/*"):
        name = child.tag.removeprefix(_STANZAS)
        if name not in {child.tag, "text"}:
            # Names that we do not know are the server's own words.
            return _IN_WORDS.get(name, f"the server refused it: {name[:40]!a}")
    return "the server refused it and does not say why"
