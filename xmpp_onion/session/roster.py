"""The contact list as the server tells it: whole, or one change at a time.

Nothing here does I/O. A change counts only from our own account: anybody can send
a stanza that looks like one (CVE-2015-8688 and its kin).

Source: RFC 6121, section 2.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.errors import InvalidJIDError

__all__ = ["REMOVED", "Contact", "is_push", "read_push", "read_roster"]

ROSTER: Final = "jabber:iq:roster"
REMOVED: Final = "remove"
"""The ``subscription`` of a change that takes somebody off the list."""

_IQ: Final = "{jabber:client}iq"
_QUERY: Final = f"{{{ROSTER}}}query"
_ITEM: Final = f"{{{ROSTER}}}item"
_SUBSCRIPTIONS: Final = frozenset({"none", "to", "from", "both"})


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody on the contact list.

    Args:
        jid: A bare JID.
        subscription: Who sees whose presence: none, to (we see them), from (they
            see us) or both.
        ask: We have asked to see them, and they have not answered.
    """

    jid: JID
    subscription: str
    ask: bool = False

    @property
    def sees_us(self) -> bool:
        """Whether we have let them see when we are there."""
        return self.subscription in {"from", "both"}

    @property
    def is_seen(self) -> bool:
        """Whether they have let us see when they are there."""
        return self.subscription in {"to", "both"}


def read_roster(query: ET.Element | None) -> Iterator[Contact]:
    """Yield the contacts in a roster result; what is malformed is left out."""
    for item in () if query is None else query.iterfind(_ITEM):
        contact = _read_item(item)
        if contact is not None and contact.subscription != REMOVED:
            yield contact


def is_push(element: ET.Element) -> bool:
    """Tell whether a stanza claims to change our contact list."""
    return (
        element.tag == _IQ
        and element.get("type") == "set"
        and element.find(_QUERY) is not None
    )


def read_push(element: ET.Element, own: JID) -> Contact | None:
    """Return the change that a push tells; None if it must not be believed.

    Section 2.1.6: it comes from nobody or from our own bare JID, and has one item.
    Its ``subscription`` may be :data:`REMOVED`.

    Args:
        element: A stanza that :func:`is_push` takes for one.
        own: Our account.
    """
    query = element.find(_QUERY)
    if query is None or len(query) != 1 or element.get("from", own.bare) != own.bare:
        return None
    return _read_item(query[0])


def _read_item(item: ET.Element) -> Contact | None:
    subscription = item.get("subscription", "none")
    if item.tag != _ITEM or subscription not in _SUBSCRIPTIONS | {REMOVED}:
        return None
    try:
        jid = JID(item.get("jid", ""))
    except InvalidJIDError:
        return None
    return Contact(jid.bare, subscription, item.get("ask") == "subscribe")
