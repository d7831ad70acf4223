"""What a room is to the people in it, as frozen values: no I/O, no library types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from xmpp_onion.address import JID
from xmpp_onion.chat.message import Said

__all__ = [
    "Affiliation",
    "Moderated",
    "Occupant",
    "Role",
    "RoomChange",
    "RoomEvent",
    "RoomState",
]


class Affiliation(StrEnum):
    """What an account is to a room, there or not (XEP-0045, section 5.2)."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    NONE = "none"
    OUTCAST = "outcast"

    @property
    def is_member(self) -> bool:
        """Whether it may be in a members-only room, and is written to."""
        return self in {Affiliation.OWNER, Affiliation.ADMIN, Affiliation.MEMBER}


class Role(StrEnum):
    """What somebody who is in the room may do now (XEP-0045, section 5.1)."""

    MODERATOR = "moderator"
    PARTICIPANT = "participant"
    VISITOR = "visitor"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Occupant:
    """Somebody who is in a room now.

    Attributes:
        nick: The name there. Anybody may take one that is free: it proves nothing.
        jid: The real account, without a resource, as the room tells; None if it
            does not.
        affiliation: What the account is to the room.
        role: What it may do there.
    """

    nick: str
    jid: JID | None
    affiliation: Affiliation
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomState:
    """A room as we know it at one moment; the next change makes a new value.

    All of it is the word of the room's server.

    Attributes:
        jid: The room.
        nick: Our name there: the one that we asked for until we are in.
        is_joined: We are in, and hear what is said.
        is_private: Members only and not anonymous, as the configuration reads now,
            and all members are known. Nothing may be said in a room that is not.
        why: Why it is not private, as a clause; empty if it is.
        members: Owners, admins and members, there or not.
        occupants: Who is in the room now, by nick.
        is_strict: Nothing is sent before each new member was accepted.
        unaccepted: Members that a strict room waits for.
    """

    jid: JID
    nick: str
    is_joined: bool
    is_private: bool
    why: str = ""
    members: Mapping[JID, Affiliation] = field(default_factory=dict)
    occupants: Mapping[str, Occupant] = field(default_factory=dict)
    is_strict: bool = False
    unaccepted: frozenset[JID] = frozenset()


class RoomChange(StrEnum):
    """What happened in a room, or to us and a room."""

    JOINED = "joined"
    """Somebody came in."""
    LEFT = "left"
    """Somebody went out."""
    AFFILIATION = "affiliation"
    """An account became something else to the room: a new member, or one no more."""
    CONFIGURATION = "configuration"
    """The room became private, or is private no more."""
    INVITED = "invited"
    """Somebody asks us to come. Nothing is joined by itself."""
    REMOVED = "removed"
    """We are out: thrown out, banned, or the room is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomEvent:
    """Something happened in a room. All of it is the word of the room's server.

    Attributes:
        sender: The room; ourselves for INVITED when it is about many.
        change: What happened.
        at: When we heard of it, in UTC.
        who: The account that it is about, or who invites; None if it is not told.
        nick: Its name in the room, if it was there.
        affiliation: What the account is to the room from now on, where that changed.
        by: Who did it, if that is told.
        is_private: For CONFIGURATION: whether messages may be sent now.
        reason: In words that are not the room's; for people. For INVITED: that who
            invites is no contact of ours; empty if it is one. For JOINED: what is
            doubtful about the nick, if anything.
        count: How many changes this is about. More than one, and nobody named, when
            there were so many that each was not worth an event.
    """

    sender: JID
    change: RoomChange
    at: datetime
    who: JID | None = None
    nick: str = ""
    affiliation: Affiliation | None = None
    by: JID | None = None
    is_private: bool | None = None
    reason: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderated:
    """An owner or an admin took somebody's message out of a room (XEP-0425).

    It is the word of the room's server: it was not encrypted, and no key says it.
    Nothing is forgotten by itself. The message itself, if you had not handled it yet,
    was handed out before.

    Attributes:
        sender: The room, which says so.
        by: Who did it; an owner or admin by our own list of its members.
        target: The id that its author gave the message.
        author: The account that had said it.
        reason: Why, in the words of who did it; every server on the way read them.
        at: When we heard of it, or the archive of the room, in UTC.
    """

    sender: JID
    by: JID
    target: str
    author: JID
    reason: str = field(default="", repr=False)
    at: datetime

    def is_for(self, message: Said) -> bool:
        """Tell whether ``message`` is the one that was taken out."""
        mine = message.room, message.id, message.sender
        return mine == (self.sender, self.target, self.author)
