"""Brings one room up to date: enters it, reads what it is, makes a new one private.

One flight as a rule: what has to be known is asked for behind the wish to come in,
and an answer that was overtaken by a change is asked for again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.errors import RoomError
from xmpp_onion.rooms.journal import RoomJournal
from xmpp_onion.session import (
    Configuration,
    Occupancy,
    RoomService,
    Session,
    unanswered,
)

__all__ = ["Kept", "News", "RoomCare", "in_time"]

log = logging.getLogger(__name__)

# Seconds that a room has to answer that we are in.
_PATIENCE: Final = 60.0
# What a room of ours is, whatever the server's own defaults are.
_CONFIGURATION: Final = {
    "muc#roomconfig_membersonly": "1",
    "muc#roomconfig_whois": "anyone",
    "muc#roomconfig_persistentroom": "1",
    "muc#roomconfig_publicroom": "0",
    "muc#roomconfig_enablearchiving": "1",
    "muc#roomconfig_allowinvites": "0",
}


class News:
    """Tells whoever waits that something changed.

    Attributes:
        next: Set at the next change. Take it before you look at what may change.
    """

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait."""
        now, self.next = self.next, asyncio.Event()
        now.set()


@dataclass(slots=True)
class Kept:
    """One room that we are in, or want to be.

    Attributes:
        occupancy: What it told us.
        nick: The name that we ask for now.
        pause: Seconds until it is asked again if it does not answer.
        wants_in: We want to be in.
        is_creating: We want to make it.
        is_kept: It is on the disk that we are in, and from where on to read.
        is_tended: Something is being asked.
        is_silent: It has said nothing for so long that we may be out.
        attempts: Nicks that were somebody else's.
        heard: When it said something last.
        failure: Why it does not let us in.
    """

    occupancy: Occupancy
    nick: str
    pause: float
    wants_in: bool = True
    is_creating: bool = False
    is_kept: bool = False
    is_tended: bool = False
    is_silent: bool = False
    attempts: int = 0
    heard: float = 0.0
    failure: RoomError | None = None

    @property
    def is_settled(self) -> bool:
        """Whether we are in, and know what the room is."""
        occupancy = self.occupancy
        is_new = occupancy.is_created or self.is_creating
        return occupancy.is_joined and not occupancy.is_stale and not is_new

    @property
    def needs_care(self) -> bool:
        """Whether something has to be asked, and nobody asks it."""
        if self.is_tended or not self.wants_in or self.failure is not None:
            return False
        occupancy = self.occupancy
        return not occupancy.is_joined or occupancy.is_stale or self.is_silent


class RoomCare:
    """Asks rooms what has to be asked.

    Args:
        service: Asks them.
        journal: Learns what they are.

    Attributes:
        news: Told when a room is otherwise than before.
        logins: How many sessions there were; one that ended answers nothing.
    """

    def __init__(self, service: RoomService, journal: RoomJournal) -> None:
        self._service = service
        self._journal = journal
        self.news = News()
        self.logins = 0

    async def bring_up_to_date(self, kept: Kept) -> None:
        """Enter if we are not in, and read what has to be known.

        Raises:
            RoomError: It refused.
            SessionError: There is no connection, or no answer.
        """
        occupancy = kept.occupancy
        if kept.is_silent:
            await self._ask_whether_in(kept)
        if not kept.wants_in:
            return  # it was left meanwhile
        if not occupancy.is_joined:
            await self._enter(kept)
        elif occupancy.is_stale:
            await self.read(occupancy)

    async def _ask_whether_in(self, kept: Kept) -> None:
        """Find out whether a silent room still has us (XEP-0410)."""
        occupancy = kept.occupancy
        if not await self._service.is_in(occupancy.room, occupancy.nick):
            log.info("the room %s has lost us", occupancy.room.short)
            occupancy.begin_anew()
            self.news.tell()
        kept.is_silent = False

    async def _enter(self, kept: Kept) -> None:
        occupancy, login = kept.occupancy, self.logins
        place = JID(f"{occupancy.room}/{kept.nick}")
        sent = self._service.enter(occupancy.room, place.resource)
        if kept.is_creating:
            await self._until_in(kept, login)
            await self._set_up(occupancy)
        await self.read(occupancy)
        await sent
        await self._until_in(kept, login)
        await self._check_new(kept)

    async def _until_in(self, kept: Kept, login: int) -> None:
        """Wait until the room lets us in, or does not."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while not kept.occupancy.is_joined:
                    changed = self.news.next
                    if kept.failure is not None:
                        raise kept.failure
                    if login != self.logins:
                        raise unanswered("the connection was lost meanwhile")
                    await changed.wait()
        except TimeoutError:
            raise unanswered(f"nothing came within {_PATIENCE:g} seconds") from None

    async def read(self, occupancy: Occupancy) -> None:
        """Read the configuration and the members, until nothing changed meanwhile.

        Raises:
            RoomError: It refused.
            SessionError: There is no connection, or no answer.
        """
        while True:
            epoch = occupancy.begin_reading()
            configuration, members = await self._service.look(occupancy.room)
            if occupancy.take_reading(epoch, configuration, members):
                break
        self._journal.note(occupancy)
        self.news.tell()

    # --- new rooms --------------------------------------------------------------

    async def _set_up(self, occupancy: Occupancy) -> None:
        """Make a new room what a room of ours is; one that was there is left."""
        if not occupancy.is_created:
            await self._service.leave(occupancy.room, occupancy.nick)
            raise RoomError(
                f"there is a room {occupancy.room} already",
                condition="conflict",
                fix="Join it, or choose another name.",
            )
        await self._service.configure(occupancy.room, _CONFIGURATION)

    async def _check_new(self, kept: Kept) -> None:
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
        missing = _what_lacks(occupancy.configuration)
        if missing:
            await self._undo(occupancy)
            raise RoomError(
                "the server does not make rooms in which one can talk in private",
                why=missing,
                fix="Make the room on another server, such as your own.",
            )
        occupancy.is_created = kept.is_creating = False
        self.news.tell()

    async def _undo(self, occupancy: Occupancy) -> None:
        """Let a room that nobody wanted vanish with us.

        To destroy it would leave a stone with its name on it, for a month.
        """
        nobody_stays = {"muc#roomconfig_persistentroom": "0"}
        await self._service.configure(occupancy.room, nobody_stays)
        await self._service.leave(occupancy.room, occupancy.nick)


def _what_lacks(made: Configuration | None) -> str:
    """Return what a new room should be and is not, as a clause."""
    if made is None:
        return "the room does not say what it is"
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


@asynccontextmanager
async def in_time(session: Session, timeout: float) -> AsyncIterator[None]:
    """Run the block with a connection, and end it in time.

    Raises:
        SessionError: There was none, or the block took more than ``timeout`` seconds.
    """
    await session.wait_online(timeout)
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError:
        why = f"nothing came within {timeout:g} seconds"
        raise unanswered(why) from None
