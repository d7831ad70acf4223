"""One room as we see it: who is in, who is a member, and whether it is private.

Nothing here does I/O. It takes what the room says, in its order, and tells what of
it is news. All of it is bounded: a room may be on a hostile server.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation, Occupant, RoomChange, RoomState
from xmpp_onion.session.muc import (
    LIST_LIMIT,
    AffiliationList,
    Configuration,
    RoomPresence,
    RoomSignal,
    Status,
)

__all__ = ["Change", "Occupancy"]

# Who is in the room at once. A nick has up to 1,023 bytes, so this is about 3 MB.
OCCUPANT_LIMIT: Final = LIST_LIMIT


@dataclass(frozen=True, slots=True)
class Change:
    """What is news of what a room said.

    Args:
        change: What happened.
        who: The account, if it is known.
        nick: Its name in the room.
        affiliation: What the account is to the room now, where that changed.
        by: Who did it.
        reason: Why we are out, as a clause.
    """

    change: RoomChange
    who: JID | None = None
    nick: str = ""
    affiliation: Affiliation | None = None
    by: JID | None = None
    reason: str = ""


class Occupancy:
    """What a room has told us since we began to enter it.

    Args:
        room: Its bare JID.
        nick: The name that we ask for.
        own: Our bare JID.
        strict: Nothing is sent before each new member was accepted.

    Attributes:
        nick: Our name there.
        is_joined: We are in.
        is_created: The room is new, and ours; nobody else can come in before it is
            configured.
        configuration: As it was read last.
        is_stale: The configuration has to be read again.
        is_shut: The room went away by itself, and may come back.
        accepted: Members that a strict room may send to, as long as they are some.
    """

    def __init__(self, room: JID, nick: str, *, own: JID, strict: bool = False) -> None:
        self.room = room.bare
        self.nick = nick
        self.is_strict = strict
        self.accepted: frozenset[JID] = frozenset()
        self._own = own.bare
        self._occupants: dict[str, Occupant] = {}
        self._members: dict[JID, Affiliation] | None = None
        self._said: dict[JID, Affiliation] = {}
        self.configuration: Configuration | None = None
        self._epoch = 0
        self._state: RoomState | None = None
        self.is_joined = self.is_created = self.is_shut = False
        self.is_stale = True

    # --- coming and going -------------------------------------------------------

    def begin_anew(self) -> None:
        """Forget who is in: a new session has to enter again."""
        self._occupants.clear()
        self.is_joined = self.is_shut = False
        self._make_stale()

    def take_presence(self, presence: RoomPresence) -> list[Change]:
        """Take in the presence of an occupant and return what is news of it.

        An error is not: whoever entered has to look at it.
        """
        if presence.error:
            return []
        self._state = None
        is_own = Status.SELF in presence.codes
        if not presence.is_there:
            return self._take_absence(presence, is_own=is_own)
        changes = self._take_occupant(presence)
        if is_own:
            self.nick = presence.nick
            self.is_created = Status.CREATED in presence.codes
            if not self.is_joined:
                # What was asked for after we asked to come in is read as of now.
                self.is_joined = True
                return []
        if presence.codes & Status.CONFIGURATION and self.is_joined:
            self._make_stale()
        return changes if self.is_joined else []

    def _take_occupant(self, presence: RoomPresence) -> list[Change]:
        nick, before = presence.nick, self._occupants.get(presence.nick)
        if before is None and len(self._occupants) >= OCCUPANT_LIMIT:
            return []
        now = Occupant(nick, presence.jid, presence.affiliation, presence.role)
        self._occupants[nick] = now
        changes: list[Change] = []
        if before is not None and before.jid != now.jid:
            changes.append(Change(RoomChange.LEFT, before.jid, nick))
        if before is None or before.jid != now.jid:
            changes.append(Change(RoomChange.JOINED, now.jid, nick))
        return changes + self._take_affiliation(now.jid, now.affiliation, presence.by)

    def _take_absence(self, presence: RoomPresence, *, is_own: bool) -> list[Change]:
        before = self._occupants.pop(presence.nick, None)
        if Status.NICK_CHANGED in presence.codes and presence.new_nick:
            if is_own:
                self.nick = presence.new_nick
            if before is not None and presence.new_nick not in self._occupants:
                renamed = replace(before, nick=presence.new_nick)
                self._occupants[presence.new_nick] = renamed
            return []
        who = presence.jid or (None if before is None else before.jid)
        changes: list[Change] = []
        if {Status.BANNED, Status.AFFILIATION_LOST} & presence.codes:
            changes = self._take_affiliation(who, presence.affiliation, presence.by)
        if is_own or presence.is_destroyed:
            return changes + self._go_out(presence)
        if before is None or not self.is_joined:
            return changes
        return [*changes, Change(RoomChange.LEFT, who, presence.nick, by=presence.by)]

    def _go_out(self, presence: RoomPresence) -> list[Change]:
        was_joined = self.is_joined
        self.is_joined, self.is_shut = False, Status.SHUTDOWN in presence.codes
        self._occupants.clear()
        self._make_stale()
        reason = _why_out(presence)
        if not was_joined or not reason or self.is_shut:
            return []
        out = Change(RoomChange.REMOVED, self._own, by=presence.by, reason=reason)
        return [out]

    # --- signals and answers ----------------------------------------------------

    def take_signal(self, signal: RoomSignal) -> list[Change]:
        """Take in what the room says about itself."""
        self._state = None
        if signal.codes & Status.CONFIGURATION:
            self._make_stale()
        return [
            change
            for jid, affiliation in signal.affiliations
            for change in self._take_affiliation(jid, affiliation)
        ]

    def _take_affiliation(
        self, jid: JID | None, affiliation: Affiliation, by: JID | None = None
    ) -> list[Change]:
        if jid is None:
            return []
        self._said[jid] = affiliation
        if len(self._said) > LIST_LIMIT:  # read anew, they are all told at once
            self._said.clear()
            self._make_stale()
        before = None if self._members is None else self._members.get(jid)
        if self._members is None or (before or Affiliation.NONE) is _rank(affiliation):
            return []
        if affiliation.is_member:
            self._members[jid] = affiliation
        else:
            self._members.pop(jid, None)
            self.accepted -= {jid}  # who comes back is accepted anew
        return [Change(RoomChange.AFFILIATION, jid, affiliation=affiliation, by=by)]

    def begin_reading(self) -> int:
        """Note that the configuration and the members are asked for now."""
        self._said.clear()
        return self._epoch

    def take_reading(
        self,
        epoch: int,
        configuration: Configuration,
        members: AffiliationList | None,
    ) -> bool:
        """Take in the answers; False if the room changed meanwhile: ask again.

        Args:
            epoch: From :meth:`begin_reading`.
            configuration: As the room says now.
            members: What it is to whom; what it said since it was asked counts more.
                None if it does not tell us.
        """
        before, self._state, self._members = self._members, None, None
        if members is not None:
            self._members = {
                jid: affiliation
                for jid, affiliation in {**dict(members), **self._said}.items()
                if affiliation.is_member
            }
            # Before the first reading they are those that the disk had.
            known = self.accepted if before is None else before.keys()
            self.accepted -= known - self._members.keys()
        if epoch != self._epoch:
            return False
        self.configuration, self.is_stale = configuration, False
        return True

    def _make_stale(self) -> None:
        """Let nothing be sent before the configuration was read again."""
        self._epoch += 1
        self.is_stale, self._state = True, None

    # --- what it is now ---------------------------------------------------------

    @property
    def members(self) -> dict[JID, Affiliation]:
        """Owners, admins and members, as far as they are known."""
        return dict(self._members or {})

    @property
    def are_members_known(self) -> bool:
        """Whether the room has told who its members are."""
        return self._members is not None

    def be_strict(self, *, strict: bool) -> None:
        """Let the room wait for each new member, or not."""
        self.is_strict, self._state = strict, None

    def accept(self, jids: Iterable[JID]) -> None:
        """Note that a strict room may send to these, too."""
        self.accepted |= frozenset(jids)
        self._state = None

    def state(self) -> RoomState:
        """Return the room as it is now."""
        if self._state is None:
            why = self._why_not_private()
            self._state = RoomState(
                jid=self.room,
                nick=self.nick,
                is_joined=self.is_joined,
                is_private=not why,
                why=why,
                members=MappingProxyType(self.members),
                occupants=MappingProxyType(dict(self._occupants)),
                is_strict=self.is_strict,
                unaccepted=frozenset(self.members) - self.accepted - {self._own}
                if self.is_strict
                else frozenset(),
            )
        return self._state

    def _why_not_private(self) -> str:
        if self.is_stale or self.configuration is None:
            return "its configuration is not known yet, or has changed"
        return self.configuration.why_not_private or _why_not_known(self._members)


def _why_not_known(members: Mapping[JID, Affiliation] | None) -> str:
    """Return why we do not know for whom to encrypt; empty if we do."""
    if members is None:
        return "it does not tell who its members are"
    if any(not jid.local for jid in members):
        return "all accounts of a whole server are members"
    if len(members) > LIST_LIMIT:
        return f"it has more than {LIST_LIMIT} members"
    return ""


def _rank(affiliation: Affiliation) -> Affiliation:
    """Return what the list of members has for it: nothing for an outcast."""
    return affiliation if affiliation.is_member else Affiliation.NONE


def _why_out(presence: RoomPresence) -> str:
    """Return why we are out; empty if we wanted to."""
    if presence.is_destroyed:
        return "the room was closed for good"
    if Status.BANNED in presence.codes:
        return "we were banned"
    if Status.KICKED in presence.codes:
        return "we were thrown out"
    if presence.codes & {Status.AFFILIATION_LOST, Status.MEMBERS_ONLY}:
        return "we are no member any more"
    if Status.SHUTDOWN in presence.codes:
        return "the server of the room goes down"
    return ""
