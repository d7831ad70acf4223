"""What people exchange, as frozen values: no I/O, no library types."""

from xmpp_onion.chat.alarm import KeyChanged, KeyReuse, NewDevice, TrustChanged
from xmpp_onion.chat.attachment import (
    FILE_LIMIT,
    Attachment,
    Fetch,
    Progress,
    linked,
)
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
from xmpp_onion.chat.link import Link, Place, Slot
from xmpp_onion.chat.message import Answer, Message, OwnMessage, Said

__all__ = [
    "FILE_LIMIT",
    "Answer",
    "Attachment",
    "ContactAccepted",
    "ContactRemoved",
    "ContactRequest",
    "Content",
    "Correction",
    "Delivery",
    "DeliveryFailed",
    "DeliveryState",
    "Event",
    "Fetch",
    "Gap",
    "KeyChanged",
    "KeyReuse",
    "Line",
    "Link",
    "Message",
    "MoreRequests",
    "NewDevice",
    "OwnMessage",
    "Place",
    "Progress",
    "Reaction",
    "Receipt",
    "Retraction",
    "RolledBack",
    "Said",
    "Slot",
    "TrustChanged",
    "Typing",
    "TypingState",
    "Undecryptable",
    "event_of",
    "line",
    "linked",
    "read_event",
    "write_event",
]
