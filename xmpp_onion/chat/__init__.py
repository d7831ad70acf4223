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
    Moved,
    RolledBack,
    Undecryptable,
    event_of,
    read_event,
    rename_event,
    write_event,
)
from xmpp_onion.chat.lines import Line, line
from xmpp_onion.chat.link import Link, Place, Slot
from xmpp_onion.chat.message import Answer, Message, OwnMessage, Said
from xmpp_onion.chat.nick import doubts
from xmpp_onion.chat.room import (
    Affiliation,
    Moderated,
    Occupant,
    Role,
    RoomChange,
    RoomEvent,
    RoomState,
)

__all__ = [
    "FILE_LIMIT",
    "Affiliation",
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
    "Moderated",
    "MoreRequests",
    "Moved",
    "NewDevice",
    "Occupant",
    "OwnMessage",
    "Place",
    "Progress",
    "Reaction",
    "Receipt",
    "Retraction",
    "Role",
    "RolledBack",
    "RoomChange",
    "RoomEvent",
    "RoomState",
    "Said",
    "Slot",
    "TrustChanged",
    "Typing",
    "TypingState",
    "Undecryptable",
    "doubts",
    "event_of",
    "line",
    "linked",
    "read_event",
    "rename_event",
    "write_event",
]
