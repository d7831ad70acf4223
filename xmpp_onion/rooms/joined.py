"""The rooms of one account: entering them, staying in, and knowing who is there.

What a room says is taken in as it comes (:meth:`Rooms.take`), without the network.
What has to be asked is asked beside it (:meth:`Rooms.run`): each room has one task
at a time that brings it up to date, in one flight.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import RoomChange, RoomState
from xmpp_onion.errors import (
    FeatureMissingError,
    RoomError,
    SessionError,
)
from xmpp_onion.rooms.address import check_nick, not_in
from xmpp_onion.rooms.care import Kept, RoomCare, in_time
from xmpp_onion.rooms.invitations import Invitations
from xmpp_onion.rooms.journal import RoomJournal
from xmpp_onion.rooms.marks import Marks
from xmpp_onion.rooms.membership import Membership
from xmpp_onion.session import (
    CatchUp,
    Change,
    Invitation,
    Occupancy,
    RoomNews,
    RoomPresence,
    Session,
    room_error,
)
from xmpp_onion.store import Cursor

__all__ = ["ROOM_TIMEOUT", "Rooms"]

log = logging.getLogger(__name__)

ROOM_TIMEOUT: Final = 60.0
"""Seconds for a connection and an answer, where the caller says nothing."""

# Seconds for the question whether an address is a room.
_QUESTION: Final = 10.0
# Rooms that are brought up to date at once; each asks five things.
_AT_ONCE: Final = 4
# Seconds until a room that did not answer is asked again; twice as long each time.
_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 600.0
# Seconds of silence after which we ask whether we are still in (XEP-0410).
_SILENCE: Final = 15 * 60.0
# Other nicks that are tried where ours is somebody else's.
_NICKS: Final = 4
# Refusals of an archive that tells only those who are in where it ends.
_SILENT: Final = frozenset({"forbidden", "not-allowed", "not-acceptable"})
# Refusals that mean that we are out for good.
_OUT: Final = frozenset({"registration-required", "forbidden", "gone"})


class Rooms:
    """The rooms of one account.

    Args:
        session: Asks the rooms.
        journal: Keeps what they are, and tells what happens.
        invitations: Who asks us to come into others.
        own: Our bare JID.
        pause: Seconds until a room that did not answer is asked again.
        silence: Seconds without a word of a room until we ask whether we are in.
        clock: Seconds that only go forward.

    Attributes:
        marks: Tells our other devices where we are.
        membership: Who may be in.
    """

    def __init__(
        self,
        session: Session,
        journal: RoomJournal,
        *,
        invitations: Invitations,
        own: JID,
        pause: float = _PAUSE,
        silence: float = _SILENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._service = session.rooms
        self._journal = journal
        self._own = own
        self.invitations = invitations
        self._pause = pause
        self._silence = silence
        self._clock = clock
        self._rooms: dict[JID, Kept] = {}
        self._is_up = False
        self._entering = asyncio.Event()
        self._work = asyncio.Event()
        self._care = RoomCare(session.rooms, journal)
        self.marks = Marks(session, self._work.set)
        self.membership = Membership(session, self._care, journal, find=self._find)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    # --- what others look at ----------------------------------------------------

    @property
    def own(self) -> JID:
        """Our bare JID."""
        return self._own

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change of any room; take it before you look at one."""
        return self._care.news.next

    def refusal(self, room: JID) -> RoomError | None:
        """Return why a room does not let us in, as long as it is not asked again."""
        kept = self._rooms.get(room)
        return None if kept is None else kept.failure

    def state(self, room: JID) -> RoomState | None:
        """Return a room as it is now; None if we are not in it and do not want to."""
        kept = self._rooms.get(room)
        return None if kept is None else kept.occupancy.state()

    def all(self) -> tuple[RoomState, ...]:
        """Return the rooms that we are in, or want to be."""
        return tuple(kept.occupancy.state() for kept in self._rooms.values())

    def check_joined(self, room: JID) -> None:
        """Refuse an address among the rooms of our own server where we are not in.

        Raises:
            RoomError: It is one, by its name.
        """
        if room.domain == f"muc.{self._own.domain}" and room not in self._rooms:
            raise not_in(room)

    async def check_person(self, jid: JID) -> None:
        """Refuse an address at a server of rooms, if that says that it is one.

        Raises:
            RoomError: It is one.
        """
        is_room = False
        with suppress(TimeoutError, SessionError):
            async with asyncio.timeout(_QUESTION):
                is_room = jid not in self._rooms and await self._service.is_host(
                    jid.domain
                )
        if is_room:
            raise not_in(jid)

    async def until_kept(self, room: JID) -> None:
        """Return when it is on the disk that we are in a room, or we are not."""
        while (kept := self._rooms.get(room)) is not None and not kept.is_kept:
            await self.changed.wait()

    async def settle(self, timeout: float) -> None:
        """Wait until each room has let us in, or has not; no longer than that.

        Args:
            timeout: Seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    changed = self.changed
                    rooms = self._rooms.values()
                    if all(kept.is_settled or kept.failure for kept in rooms):
                        return
                    await changed.wait()

    async def refresh(self, room: JID) -> None:
        """Read the configuration and the members of a room anew; one flight.

        Raises:
            RoomError: It refused, or we are not in it.
            SessionError: There is no connection, or no answer.
        """
        await self._care.read(self._find(room).occupancy)

    # --- with the session -------------------------------------------------------

    async def load(self) -> None:
        """Take the rooms from the disk."""
        for row in await self._journal.table.all():
            jid, accepted = await self._journal.accepted(row)
            occupancy = Occupancy(jid, row.nick, own=self._own, strict=row.strict)
            occupancy.accept(accepted)
            self._rooms[jid] = Kept(occupancy, row.nick, self._pause, is_kept=True)
        self._know()

    def begin_anew(self) -> None:
        """Note that a fresh session is in no room."""
        self._is_up = False
        self._care.logins += 1
        for kept in self._rooms.values():
            kept.occupancy.begin_anew()
        self._care.news.tell()

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
            tasks.create_task(self.invitations.run())
            while True:
                self._work.clear()
                for kept in list(self._rooms.values()):
                    if self._is_up and kept.needs_care:
                        kept.is_tended = True
                        tasks.create_task(self._tend(kept))
                if self._is_up:
                    self.marks.start(tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._silence):
                        await self._work.wait()
                self._look_for_silence()

    def _look_for_silence(self) -> None:
        """Note which rooms have said nothing for so long that we may be out."""
        for kept in self._rooms.values():
            if kept.occupancy.is_joined:
                silence = self._clock() - kept.heard
                kept.is_silent = kept.is_silent or silence >= self._silence

    async def _tend(self, kept: Kept) -> None:
        """Bring a room up to date; what fails for now is tried again later."""
        room = kept.occupancy.room
        try:
            async with self._turns:
                await self._care.bring_up_to_date(kept)
            kept.heard = self._clock()
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

    async def _wait(self, kept: Kept) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(kept.pause):
                await self._entering.wait()
        kept.pause = min(kept.pause * 2, _LONGEST_PAUSE)

    def _give_up(self, kept: Kept, error: RoomError) -> None:
        kept.failure = error
        if error.condition in _OUT:
            out = Change(RoomChange.REMOVED, self._own, reason=error.why)
            self._journal.note(kept.occupancy, [out])
        self._care.news.tell()

    # --- what rooms say ---------------------------------------------------------

    async def take(self, news: RoomNews) -> None:
        """Take in what a room says; the network has to wait."""
        if isinstance(news, Invitation):
            if news.room not in self._rooms:
                await self.invitations.take(news)
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
        self._care.news.tell()

    def _take_refusal(self, kept: Kept, condition: str) -> None:
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
    ) -> Kept:
        old = self._rooms.get(room)
        if old is not None and is_creating:
            raise RoomError(
                f"the room {room} was not made",
                condition="conflict",
                why="there is one of this name already, and we are in it",
                fix="Use that one, or choose another name.",
            )
        if old is not None:
            if old.occupancy.is_joined:
                return old
            old.wants_in = False
        nick = check_nick(nick or self._own.local)
        occupancy = Occupancy(room, nick, own=self._own)
        kept = Kept(occupancy, nick, self._pause, is_creating=is_creating)
        async with in_time(self._session, timeout):
            # Asked before we come in: all that we hear comes after that.
            end = CatchUp(self._session.archive, None, room=room)
            self._rooms[room] = kept
            self._know()
            self._work.set()
            try:
                await self._settled(kept)
                begin = await _place_of(end, room)
            except BaseException:
                self._drop(kept)
                raise
        await self._journal.keep(occupancy, nick, begin)
        kept.is_kept = True
        self._care.news.tell()
        self.marks.note(room, nick)
        self._journal.note(occupancy)
        return kept

    async def _settled(self, kept: Kept) -> None:
        """Wait until we are in and know what the room is."""
        while True:
            changed = self.changed
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
        async with in_time(self._session, timeout):
            with _going(kept):
                await self._service.leave(room, kept.occupancy.nick)
        self._drop(kept)
        await self._journal.forget(room)
        self.marks.note(room, None)

    async def set_subject(self, room: JID, subject: str, timeout: float) -> None:
        """Set the subject, in the clear."""
        self._find(room)
        async with in_time(self._session, timeout):
            await self._service.set_subject(room, subject)

    async def destroy(self, room: JID, timeout: float) -> None:
        """Make an end of a room, for everybody."""
        kept = self._find(room)
        async with in_time(self._session, timeout):
            with _going(kept):
                await self._service.destroy(room)
        self._drop(kept)
        await self._journal.forget(room)
        self.marks.note(room, None)

    def _find(self, room: JID) -> Kept:
        kept = self._rooms.get(room)
        if kept is None:
            raise RoomError(
                "the room was not asked",
                why=f"we are not in {room}",
                fix=f"Join it first: xmpp-onion room join {room}",
            )
        return kept

    def _drop(self, kept: Kept) -> None:
        if self._rooms.get(kept.occupancy.room) is kept:
            del self._rooms[kept.occupancy.room]
            self._know()
        kept.wants_in = False
        self._care.news.tell()

    def _know(self) -> None:
        """Have the session read what our rooms send, and nobody else's."""
        self._service.known = set(self._rooms)


@contextmanager
def _going(kept: Kept) -> Iterator[None]:
    """Let nobody bring us in again while we go out.

    The room may have let us go before our server confirms that it had our wish.
    """
    kept.wants_in = False
    try:
        yield
    except BaseException:
        kept.wants_in = True
        raise


async def _place_of(end: CatchUp, room: JID) -> Cursor | None:
    """Return where an archive ended when it was asked; None if it tells nobody yet.

    A room that is only made then has none, and all that it will have is ours.

    Raises:
        SessionError: It did not answer.
    """
    try:
        async with aclosing(end.pages()) as pages:
            async for page in pages:
                return Cursor(page.last_id, page.at, room)
    except FeatureMissingError:
        return None
    except SessionError as error:
        if error.why in _SILENT:
            return None
        if error.why != "item-not-found":
            raise
        return Cursor("", datetime.now(UTC), room)
    return None
