"""What people exchange, as frozen values: no I/O, no library types."""

from xmpp_onion.chat.alarm import KeyChanged, KeyReuse, NewDevice, TrustChanged
from xmpp_onion.chat.contents import (
    Content,
    Correction,
    Reaction,
    Retraction,
    Typing,
    TypingState,
)
from xmpp_onion.chat.delivery import (
    Delivery,
    DeliveryFailed,
    DeliveryState,
    Receipt,
)
from xmpp_onion.chat.event import (
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Event,
    Gap,
    MoreRequests,
    RolledBack,
    Undecryptable,
    event_of,
    read_event,
    write_event,
)
from xmpp_onion.chat.lines import Line, line
from xmpp_onion.chat.message import Answer, Message, OwnMessage, Said

__all__ = [
    "Answer",
    "ContactAccepted",
    "ContactRemoved",
    "ContactRequest",
    "Content",
    "Correction",
    "Delivery",
    "DeliveryFailed",
    "DeliveryState",
    "Event",
    "Gap",
    "KeyChanged",
    "KeyReuse",
    "Line",
    "Message",
    "MoreRequests",
    "NewDevice",
    "OwnMessage",
    "Reaction",
    "Receipt",
    "Retraction",
    "RolledBack",
    "Said",
    "TrustChanged",
    "Typing",
    "TypingState",
    "Undecryptable",
    "event_of",
    "line",
    "read_event",
    "write_event",
]
