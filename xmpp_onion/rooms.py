"""The rooms of one account: entering them, staying in, and knowing who is there.

What a room says is taken in as it comes (:meth:`Rooms.take`), without the network.
What has to be asked is asked beside it (:meth:`Rooms.run`): each room has one task
at a time that brings it up to date, in one flight.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation, RoomChange, RoomState
from xmpp_onion.errors import AddressError, RoomError, SessionError
from xmpp_onion.room_journal import RoomJournal
from xmpp_onion.session import (
    Change,
    Configuration,
    Invitation,
    Occupancy,
    RoomNews,
    RoomPresence,
    Session,
    room_error,
)

__all__ = ["ROOM_TIMEOUT", "Rooms", "parse_room"]

log = logging.getLogger(__name__)

ROOM_TIMEOUT: Final = 60.0
"""Seconds for a connection and an answer, where the caller says nothing."""

# Rooms that are brought up to date at once; each asks five things.
_AT_ONCE: Final = 4
# Seconds that a room has to answer that we are in.
_PATIENCE: Final = 60.0
# Seconds until a room that did not answer is asked again; twice as long each time.
_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 600.0
# Seconds of silence after which we ask whether we are still in (XEP-0410).
_SILENCE: Final = 15 * 60.0
# Other nicks that are tried where ours is somebody else's.
_NICKS: Final = 4
# Refusals that mean that we are out for good.
_OUT: Final = frozenset({"registration-required", "forbidden", "gone"})
# What a room of ours is: whatever the server's own defaults are.
_CONFIGURATION: Final = {
    "muc#roomconfig_membersonly": "1",
    "muc#roomconfig_whois": "anyone",
    "muc#roomconfig_persistentroom": "1",
    "muc#roomconfig_publicroom": "0",
    "muc#roomconfig_enablearchiving": "1",
    "muc#roomconfig_allowinvites": "0",
}


@dataclass(slots=True)
class _Kept:
    """One room that we are in, or want to be."""

    occupancy: Occupancy
    nick: str
    wants_in: bool = True
    is_creating: bool = False
    is_tended: bool = False
    attempts: int = 0
    pause: float = _PAUSE
    heard: float = 0.0
    failure: RoomError | None = None

    @property
    def is_settled(self) -> bool:
        occupancy = self.occupancy
        is_new = occupancy.is_created or self.is_creating
        return occupancy.is_joined and not occupancy.is_stale and not is_new

    @property
    def needs_care(self) -> bool:
        occupancy = self.occupancy
        if self.is_tended or not self.wants_in or self.failure is not None:
            return False
        return not occupancy.is_joined or occupancy.is_stale


class Rooms:
    """The rooms of one account.

    Args:
        session: Asks the rooms.
        journal: Keeps what they are, and tells what happens.
        own: Our bare JID.
        pause: Seconds until a room that did not answer is asked again.
        silence: Seconds without a word of a room until we ask whether we are in.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        session: Session,
        journal: RoomJournal,
        *,
        own: JID,
        pause: float = _PAUSE,
        silence: float = _SILENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._service = session.rooms
        self._journal = journal
        self._own = own
        self._pause = pause
        self._silence = silence
        self._clock = clock
        self._rooms: dict[JID, _Kept] = {}
        self._is_up = False
        self._logins = 0
        self._entering = asyncio.Event()
        self._work = asyncio.Event()
        self._changed = asyncio.Event()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    # --- what others look at ----------------------------------------------------

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change of any room; take it before you look at one."""
        return self._changed

    def state(self, room: JID) -> RoomState | None:
        """Return a room as it is now; None if we are not in it and do not want to."""
        kept = self._rooms.get(room)
        return None if kept is None else kept.occupancy.state()

    def all(self) -> tuple[RoomState, ...]:
        """Return the rooms that we are in, or want to be."""
        return tuple(kept.occupancy.state() for kept in self._rooms.values())

    async def refresh(self, room: JID) -> None:
        """Read the configuration and the members of a room anew; one flight.

        Raises:
            RoomError: It refused, or we are not in it.
            SessionError: There is no connection, or no answer.
        """
        await self._read(self._find(room))

    # --- with the session -------------------------------------------------------

    async def load(self) -> None:
        """Take the rooms from the disk."""
        for row in await self._journal.table.all():
            jid = JID(row.jid)
            occupancy = Occupancy(jid, row.nick, own=self._own, strict=row.strict)
            members = await self._journal.table.members(row.jid)
            occupancy.accept(JID(each.jid) for each in members if each.accepted)
            self._rooms[jid] = _Kept(occupancy, row.nick)
        self._know()

    def begin_anew(self) -> None:
        """Note that a fresh session is in no room."""
        self._is_up = False
        self._logins += 1
        for kept in self._rooms.values():
            kept.occupancy.begin_anew()
        self._tell_change()

    def enter_all(self) -> None:
        """Enter all rooms, from now on: the world sees us."""
        self._is_up = True
        for kept in self._rooms.values():
            kept.failure, kept.attempts, kept.pause = None, 0, self._pause
        self._entering.set()
        self._entering = asyncio.Event()
        self._work.set()

    async def run(self) -> None:
        """Bring rooms up to date when they need it; never returns."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._work.clear()
                for kept in list(self._rooms.values()):
                    if self._is_up and kept.needs_care:
                        kept.is_tended = True
                        tasks.create_task(self._tend(kept))
                await self._work.wait()

    async def _tend(self, kept: _Kept) -> None:
        """Bring a room up to date; what fails for now is tried again later."""
        room = kept.occupancy.room
        try:
            async with self._turns:
                await self._bring_in(kept)
            kept.pause = self._pause
        except RoomError as error:
            log.info("the room %s refused (%s)", room.short, error.condition)
            if error.is_temporary:
                await self._wait(kept)
            else:
                self._give_up(kept, error)
        except SessionError as error:
            log.info("the room %s has to wait: %s", room.short, error.why)
            await self._wait(kept)
        finally:
            kept.is_tended = False
            self._work.set()

    async def _wait(self, kept: _Kept) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(kept.pause):
                await self._entering.wait()
        kept.pause = min(kept.pause * 2, _LONGEST_PAUSE)

    def _give_up(self, kept: _Kept, error: RoomError) -> None:
        kept.failure = error
        if error.condition in _OUT:
            out = Change(RoomChange.REMOVED, self._own, reason=error.why)
            self._journal.note(kept.occupancy, [out])
        self._tell_change()

    async def _bring_in(self, kept: _Kept) -> None:
        """Enter if we are not in, and read what has to be known; in one flight."""
        occupancy, login = kept.occupancy, self._logins
        if not occupancy.is_joined:
            place = JID(f"{occupancy.room}/{kept.nick}")
            sent = self._service.enter(occupancy.room, place.resource)
            if kept.is_creating:
                await self._until_in(kept, login)
                await self._set_up(kept)
            await self._read(kept)
            await sent
            await self._until_in(kept, login)
            await self._check_new(kept)
        elif occupancy.is_stale:
            await self._read(kept)

    async def _until_in(self, kept: _Kept, login: int) -> None:
        """Wait until the room lets us in, or does not."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while not kept.occupancy.is_joined:
                    changed = self._changed
                    if kept.failure is not None:
                        raise kept.failure
                    if login != self._logins:
                        raise _unanswered("the connection was lost meanwhile")
                    await changed.wait()
        except TimeoutError:
            why = f"nothing came within {_PATIENCE:g} seconds"
            raise _unanswered(why) from None

    async def _set_up(self, kept: _Kept) -> None:
        """Make a new room what a room of ours is; one that was there is left."""
        room = kept.occupancy.room
        if not kept.occupancy.is_created:
            await self._service.leave(room, kept.occupancy.nick)
            raise RoomError(
                f"there is a room {room} already",
                condition="conflict",
                fix="Join it, or choose another name.",
            )
        await self._service.configure(room, _CONFIGURATION)

    async def _check_new(self, kept: _Kept) -> None:
        """Refuse a room that came to be because we asked for it, or is not as asked."""
        occupancy = kept.occupancy
        if not occupancy.is_created:
            return
        if not kept.is_creating:
            await self._undo(occupancy)
            raise RoomError(
                f"there is no room {occupancy.room}",
                condition="gone",
                fix="Compare the name with where you have it from, or make it: "
                f"xmpp-onion room create {occupancy.room}",
            )
        made = occupancy.configuration
        missing = "it does not say what it is" if made is None else _what_lacks(made)
        if missing:
            await self._undo(occupancy)
            raise RoomError(
                "the server does not make rooms in which one can talk in private",
                why=missing,
                fix="Make the room on another server, such as your own.",
            )
        occupancy.is_created = kept.is_creating = False
        self._tell_change()

    async def _undo(self, occupancy: Occupancy) -> None:
        """Let a room that nobody wanted vanish with us.

        To destroy it would leave a stone with its name on it, for a month.
        """
        await self._service.configure(
            occupancy.room, {"muc#roomconfig_persistentroom": "0"}
        )
        await self._service.leave(occupancy.room, occupancy.nick)

    async def _read(self, kept: _Kept) -> None:
        """Read the configuration and the members, until nothing changed meanwhile."""
        occupancy = kept.occupancy
        while True:
            epoch = occupancy.begin_reading()
            configuration, members = await self._service.look(occupancy.room)
            if occupancy.take_reading(epoch, configuration, members):
                break
        self._journal.note(occupancy)
        self._tell_change()

    # --- what rooms say ---------------------------------------------------------

    async def take(self, news: RoomNews) -> None:
        """Take in what a room says; the network has to wait."""
        if isinstance(news, Invitation):
            return
        kept = self._rooms.get(news.room)
        if kept is None:
            return
        kept.heard = self._clock()
        occupancy = kept.occupancy
        if isinstance(news, RoomPresence):
            if news.error and not occupancy.is_joined:
                self._take_refusal(kept, news.error)
            changes = occupancy.take_presence(news)
        else:
            changes = occupancy.take_signal(news)
        if any(change.change is RoomChange.REMOVED for change in changes):
            self._drop(kept)
        if changes:
            self._journal.note(occupancy, changes)
        if occupancy.is_shut or kept.needs_care:
            self._work.set()
        self._tell_change()

    def _take_refusal(self, kept: _Kept, condition: str) -> None:
        """Note that we cannot come in; under another nick we perhaps can."""
        if condition == "conflict" and kept.attempts < _NICKS:
            kept.attempts += 1
            kept.nick = f"{kept.occupancy.nick}-{kept.attempts + 1}"
            self._service.enter(kept.occupancy.room, kept.nick)
            return
        kept.failure = room_error(condition)

    # --- what a person does -----------------------------------------------------

    async def join(self, room: JID, nick: str, timeout: float) -> RoomState:
        """Enter a room, and stay in it from now on.

        Raises:
            RoomError: It refused.
            SessionError: No connection, or no answer, within ``timeout`` seconds.
        """
        kept = await self._enter(room, nick, timeout, is_creating=False)
        return kept.occupancy.state()

    async def create(self, room: JID, nick: str, timeout: float) -> RoomState:
        """Make a room: members only, not anonymous, lasting, archived, not listed.

        All of that is read back; a room that is not so is destroyed again.

        Raises:
            RoomError: There is one of this name, or the server does not make it so.
            SessionError: As :meth:`join`.
        """
        kept = await self._enter(room, nick, timeout, is_creating=True)
        return kept.occupancy.state()

    async def _enter(
        self, room: JID, nick: str, timeout: float, *, is_creating: bool
    ) -> _Kept:
        old = self._rooms.get(room)
        if old is not None and old.occupancy.is_joined and not is_creating:
            return old
        nick = JID(f"{room}/{nick or self._own.local}").resource
        occupancy = Occupancy(room, nick, own=self._own)
        kept = _Kept(occupancy, nick, is_creating=is_creating, pause=self._pause)
        async with self._online(timeout):
            self._rooms[room] = kept
            self._know()
            self._work.set()
            try:
                await self._settled(kept)
            except BaseException:
                self._drop(kept)
                raise
        await self._journal.keep(occupancy, nick)
        self._journal.note(occupancy)
        return kept

    async def _settled(self, kept: _Kept) -> None:
        """Wait until we are in and know what the room is."""
        while True:
            changed = self._changed
            if kept.failure is not None:
                raise kept.failure
            if kept.is_settled:
                return
            await changed.wait()

    async def leave(self, room: JID, timeout: float) -> None:
        """Go out of a room, and do not enter it again.

        Raises:
            SessionError: As :meth:`join`.
        """
        kept = self._find(room)
        async with self._online(timeout):
            await self._service.leave(room, kept.occupancy.nick)
        self._drop(kept)
        await self._journal.forget(room)

    async def members(self, room: JID, timeout: float) -> dict[JID, Affiliation]:
        """Return owners, admins and members, as the room says now."""
        kept = self._find(room)
        async with self._online(timeout):
            await self._read(kept)
        if not kept.occupancy.are_members_known:
            raise RoomError(
                "the room does not tell who its members are",
                fix="Ask one of its owners to make it members-only.",
            )
        return kept.occupancy.members

    async def invite(self, room: JID, jid: JID, timeout: float) -> None:
        """Make somebody a member, and ask them to come."""
        await self.grant(room, jid, Affiliation.MEMBER, timeout)
        async with self._online(timeout):
            await self._service.invite(room, jid)

    async def grant(
        self, room: JID, jid: JID, affiliation: Affiliation, timeout: float
    ) -> None:
        """Make an account something else to a room."""
        async with self._online(timeout):
            await self._service.grant(room, jid, affiliation)

    def _find(self, room: JID) -> _Kept:
        kept = self._rooms.get(room)
        if kept is None:
            raise RoomError(
                "we are not in this room",
                fix=f"Join it first: xmpp-onion room join {room}",
            )
        return kept

    def _drop(self, kept: _Kept) -> None:
        if self._rooms.get(kept.occupancy.room) is kept:
            del self._rooms[kept.occupancy.room]
            self._know()
        kept.wants_in = False
        self._tell_change()

    def _know(self) -> None:
        """Have the session read what our rooms send, and nobody else's."""
        self._service.known = set(self._rooms)

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @asynccontextmanager
    async def _online(self, timeout: float) -> AsyncIterator[None]:
        """Run the block with a connection, and end it in time."""
        await self._session.wait_online(timeout)
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError:
            why = f"nothing came within {timeout:g} seconds"
            raise _unanswered(why) from None


def _what_lacks(made: Configuration) -> str:
    """Return what a new room should be and is not, as a clause."""
    for is_so, clause in (
        (made.is_members_only, "it lets in everybody"),
        (made.is_non_anonymous, "it hides who its occupants are"),
        (made.is_persistent, "it would be gone when the last one leaves"),
        (made.is_hidden, "it stands in a public list"),
        (made.is_archived, "it keeps nothing for who is away"),
    ):
        if not is_so:
            return clause
    return ""


def _unanswered(why: str) -> SessionError:
    return SessionError(
        "the room did not answer",
        why=why,
        fix="Try again when the connection is back. See `xmpp-onion doctor`.",
    )


def parse_room(text: str) -> JID:
    """Return the JID of a room.

    Raises:
        AddressError: It is not one, it names a server, or somebody in a room.
    """
    jid = JID(text)
    if not jid.local or jid.resource:
        raise AddressError(
            f"{text!a} is not the address of a room",
            fix="Write it as name@muc.….onion.",
        )
    return jid
