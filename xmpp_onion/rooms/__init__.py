"""Rooms: who is in, who may be, how private each is, and what may go out to it."""

from xmpp_onion.rooms.address import check_nick, check_room, parse_room
from xmpp_onion.rooms.care import Kept, News, RoomCare
from xmpp_onion.rooms.invitations import Invitations
from xmpp_onion.rooms.joined import ROOM_TIMEOUT, Rooms
from xmpp_onion.rooms.journal import RoomJournal
from xmpp_onion.rooms.moderations import Moderations
from xmpp_onion.rooms.names import RoomNames
from xmpp_onion.rooms.room import Room, Voice
from xmpp_onion.rooms.shown import MARKED_MEMBERS, Shown
from xmpp_onion.rooms.watch import RoomWatch, may_hear

__all__ = [
    "MARKED_MEMBERS",
    "ROOM_TIMEOUT",
    "Invitations",
    "Kept",
    "Moderations",
    "News",
    "Room",
    "RoomCare",
    "RoomJournal",
    "RoomNames",
    "RoomWatch",
    "Rooms",
    "Shown",
    "Voice",
    "check_nick",
    "check_room",
    "may_hear",
    "parse_room",
]
