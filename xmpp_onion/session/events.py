"""What a session yields, in the order it happened."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from xmpp_onion.address import JID
from xmpp_onion.errors import InvalidJIDError
from xmpp_onion.session.moved import read_moved
from xmpp_onion.session.muc import RoomNews
from xmpp_onion.session.roster import Contact

__all__ = [
    "Connected",
    "Disconnected",
    "Received",
    "RoomChanged",
    "RosterChange",
    "SaidMoved",
    "SessionEvent",
    "SubscriptionRequest",
    "read_request",
]


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is up.

    Args:
        resumed: The earlier stream goes on, and nothing was lost in between. If
            not, what was not acknowledged has to be sent again, and presence
            has to be announced again.
    """

    resumed: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone; it is being dialed again.

    Args:
        reason: Why, as a clause for people.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message stanza came. Nothing in it is authenticated.

    Args:
        element: The message.
        is_early: Something that came before it, of others, was not yielded yet.
    """

    element: ET.Element = field(repr=False)
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """Somebody asks to see when we are there; only a person may accept.

    Args:
        sender: Who asks; a bare JID.
    """

    sender: JID


@dataclass(frozen=True, slots=True)
class RosterChange:
    """Our contact list changed at the server, which vouches for it.

    Args:
        contact: As it is now; its subscription may be ``REMOVED``.
    """

    contact: Contact


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """A room that we are in says something about itself, or somebody invites us.

    Args:
        news: What; what people say in it is :class:`Received`.
    """

    news: RoomNews


@dataclass(frozen=True, slots=True)
class SaidMoved:
    """Somebody's server says that it has another name now; nothing is verified.

    Args:
        sender: Who moved with it; a bare JID.
        document: What it says; see `xmpp_onion.moves`.
    """

    sender: JID
    document: str


SessionEvent = (
    Connected
    | Disconnected
    | Received
    | SubscriptionRequest
    | RosterChange
    | RoomChanged
    | SaidMoved
)
"""All that a session tells."""


def read_request(element: ET.Element) -> SubscriptionRequest | SaidMoved | None:
    """Return what somebody's presence asks of us, or says of where they are now."""
    if element.tag != "{jabber:client}presence":
        return None
    document = read_moved(element)
    if not document and element.get("type") != "subscribe":
        return None
    try:
        sender = JID(element.get("from", "")).bare
    except InvalidJIDError:
        return None
    return SaidMoved(sender, document) if document else SubscriptionRequest(sender)
