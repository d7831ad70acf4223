"""One XMPP session over Tor, kept alive; and how to make an account.

:class:`Session` is the way in; everything it yields is an event to ``match``.
"""

from xmpp_onion.session.archive import Archive, Archived
from xmpp_onion.session.bookmarks import Bookmark, Bookmarks
from xmpp_onion.session.catch_up import CatchUp, Page
from xmpp_onion.session.content import read_content, write_content
from xmpp_onion.session.events import (
    Connected,
    Disconnected,
    Received,
    RoomChanged,
    RosterChange,
    SaidMoved,
    SessionEvent,
    SubscriptionRequest,
)
from xmpp_onion.session.faults import NO_FAULTS
from xmpp_onion.session.gate import Bucket
from xmpp_onion.session.groupchat import Seat, read_groupchat, seat_of
from xmpp_onion.session.guards import outline_of
from xmpp_onion.session.liveness import Timing
from xmpp_onion.session.login import Dialer
from xmpp_onion.session.mentions import MENTION_LIMIT
from xmpp_onion.session.moderation import Moderation
from xmpp_onion.session.muc import (
    AffiliationList,
    Configuration,
    Invitation,
    RoomNews,
    RoomPresence,
    RoomSignal,
    Status,
)
from xmpp_onion.session.notices import Notice
from xmpp_onion.session.occupancy import Change, Occupancy
from xmpp_onion.session.people import Asked, People
from xmpp_onion.session.registration import (
    Registered,
    register,
    register_and_learn,
)
from xmpp_onion.session.remembered import Remembered
from xmpp_onion.session.room_service import RoomService, room_error, unanswered
from xmpp_onion.session.roster import REMOVED, Contact
from xmpp_onion.session.serialising import serialise
from xmpp_onion.session.shelf import read_waiting, write_incoming
from xmpp_onion.session.stamps import Stamps
from xmpp_onion.session.stanzas import (
    Incoming,
    message_stanza,
    parse_sent,
    presence_stanza,
    read_message,
)
from xmpp_onion.session.stream import Session
from xmpp_onion.session.upload import Slots

__all__ = [
    "MENTION_LIMIT",
    "NO_FAULTS",
    "REMOVED",
    "AffiliationList",
    "Archive",
    "Archived",
    "Asked",
    "Bookmark",
    "Bookmarks",
    "Bucket",
    "CatchUp",
    "Change",
    "Configuration",
    "Connected",
    "Contact",
    "Dialer",
    "Disconnected",
    "Incoming",
    "Invitation",
    "Moderation",
    "Notice",
    "Occupancy",
    "Page",
    "People",
    "Received",
    "Registered",
    "Remembered",
    "RoomChanged",
    "RoomNews",
    "RoomPresence",
    "RoomService",
    "RoomSignal",
    "RosterChange",
    "SaidMoved",
    "Seat",
    "Session",
    "SessionEvent",
    "Slots",
    "Stamps",
    "Status",
    "SubscriptionRequest",
    "Timing",
    "message_stanza",
    "outline_of",
    "parse_sent",
    "presence_stanza",
    "read_content",
    "read_groupchat",
    "read_message",
    "read_waiting",
    "register",
    "register_and_learn",
    "room_error",
    "seat_of",
    "serialise",
    "unanswered",
    "write_content",
    "write_incoming",
]
