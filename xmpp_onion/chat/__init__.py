"""What people exchange, as frozen values: no I/O, no library types."""

from xmpp_onion.chat.alarm import KeyChanged, KeyReuse, NewDevice, TrustChanged
from xmpp_onion.chat.lines import Line, line
from xmpp_onion.chat.message import (
    Answer,
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Delivery,
    DeliveryState,
    Event,
    Gap,
    Message,
    MoreRequests,
    Undecryptable,
    read_event,
    write_event,
)

__all__ = [
    "Answer",
    "ContactAccepted",
    "ContactRemoved",
    "ContactRequest",
    "Delivery",
    "DeliveryState",
    "Event",
    "Gap",
    "KeyChanged",
    "KeyReuse",
    "Line",
    "Message",
    "MoreRequests",
    "NewDevice",
    "TrustChanged",
    "Undecryptable",
    "line",
    "read_event",
    "write_event",
]
