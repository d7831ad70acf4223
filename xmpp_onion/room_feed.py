"""What is said in our rooms, in its order: first what we missed, then what comes.

When we come into a room its archive is read from where we left it. What is said
meanwhile waits in memory, bounded; where it is too much it is dropped, for it is in
the archive as well, which is read on then.
"""

import asyncio
import logging
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.backlog import Backlog
from xmpp_onion.clerk import Clerk
from xmpp_onion.rooms import Rooms
from xmpp_onion.session import Incoming, read_groupchat, seat_of
from xmpp_onion.store import Cursor

__all__ = ["RoomFeed"]

log = logging.getLogger(__name__)

# What waits of one room while its archive is read, about a page of that.
_HELD: Final = 250
# Rooms whose archives are read at once: each has up to 8 MiB under way.
_AT_ONCE: Final = 2


@dataclass(slots=True, eq=False)
class _Reading:
    """A room that we are in, from coming in to going out.

    Attributes:
        backlog: Its archive.
        is_over: The archive is read, and what comes is taken in at once.
        held: What came meanwhile.
        has_dropped: Something more did.
        task: Reads it.
        done: Set when it is over, or of no use any more.
    """

    backlog: Backlog
    is_over: bool = False
    held: deque[Incoming] = field(default_factory=deque)
    has_dropped: bool = False
    task: asyncio.Task[None] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self, incoming: Incoming) -> None:
        """Keep a message for later, or drop it and all that follow on it."""
        self.has_dropped = self.has_dropped or len(self.held) >= _HELD
        if not self.has_dropped:
            self.held.append(incoming)

    def place_of(self, incoming: Incoming) -> Cursor | None:
        """Return where the archive is after a live message, if that is known."""
        if not incoming.stanza_id or not self.backlog.is_taken_in:
            return None
        return Cursor(incoming.stanza_id, incoming.at, incoming.room or "")


class RoomFeed:
    """Takes in what is said in the rooms of one account.

    Args:
        rooms: Which, and who is behind which nick.
        clerk: Decrypts and keeps it.
        open_archive: Makes a :class:`Backlog` of a room.
        warm: Fetches what writing to people needs, so that the first message to a
            room does not wait for the keys of a hundred.
    """

    def __init__(
        self,
        rooms: Rooms,
        clerk: Clerk,
        open_archive: Callable[[JID], Backlog],
        warm: Callable[[Collection[JID]], Awaitable[None]],
    ) -> None:
        self._rooms = rooms
        self._clerk = clerk
        self._open_archive = open_archive
        self._warm = warm
        self._readings: dict[JID, _Reading] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._work = asyncio.Event()

    def look(self) -> None:
        """Note which rooms we are in now: call it after each change, in its order."""
        joined = {state.jid for state in self._rooms.all() if state.is_joined}
        for room in self._readings.keys() - joined:
            reading = self._readings.pop(room)
            reading.done.set()
            if reading.task is not None:
                reading.task.cancel()
        for room in joined - self._readings.keys():
            self._readings[room] = _Reading(self._open_archive(room))
            self._work.set()

    async def until_read(self, room: JID) -> None:
        """Return when the archive of a room is read, or we are not in it any more.

        Only then is it known from where on to read the next time, if this is the
        first.
        """
        reading = self._readings.get(room)
        if reading is not None:
            await reading.done.wait()

    async def settle(self, timeout: float) -> None:
        """Wait until each room that lets us in is read; no longer than that.

        Args:
            timeout: Seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._rooms.settle(timeout)
                for reading in list(self._readings.values()):
                    await reading.done.wait()

    async def take(self, element: ET.Element) -> bool:
        """Take in a message stanza; False if it was not said in a room.

        What comes from a room that we are not in is nothing.
        """
        seat = seat_of(element)
        if seat is None:
            return False
        state, reading = self._rooms.state(seat.room), self._readings.get(seat.room)
        if state is None or reading is None:
            return True
        occupant = state.occupants.get(seat.nick)
        incoming = read_groupchat(element, author=occupant.jid if occupant else None)
        if incoming is None:
            return True
        if reading.is_over:
            await self._clerk.take_in(incoming, reading.place_of(incoming))
        else:
            reading.hold(incoming)
        return True

    async def run(self) -> None:
        """Read the archives of rooms that we came into; never returns."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._work.wait()
                self._work.clear()
                for room, reading in self._readings.items():
                    if reading.task is None:
                        reading.task = tasks.create_task(self._tend(room, reading))

    async def _tend(self, room: JID, reading: _Reading) -> None:
        """Do what a room needs that we came into."""
        await self._rooms.until_kept(room)
        await self._read(reading)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._warm_up(room))
            async with aclosing(reading.backlog.retries()) as retries:
                async for _ in retries:
                    async with self._turns:
                        await self._read_archive(reading.backlog)

    async def _warm_up(self, room: JID) -> None:
        """Fetch the keys of the members when it is known that the room is private."""
        while True:
            changed, state = self._rooms.changed, self._rooms.state(room)
            if state is not None and state.is_private:
                await self._warm(state.members)
                return
            await changed.wait()

    async def _read(self, reading: _Reading) -> None:
        """Take in what the archive has, and then what came meanwhile."""
        async with self._turns:
            while not reading.is_over:
                reading.has_dropped = False
                await self._read_archive(reading.backlog)
                while reading.held:
                    incoming = reading.held.popleft()
                    if not await self._clerk.is_known(incoming):
                        place = reading.place_of(incoming)
                        await self._clerk.take_in(incoming, place)
                # Without a pause since nothing was left: nothing can come between.
                reading.is_over = not (
                    reading.has_dropped and reading.backlog.is_taken_in
                )
        reading.done.set()

    async def _read_archive(self, backlog: Backlog) -> None:
        async with aclosing(backlog.steps()) as pages:
            async for steps in pages:
                await self._clerk.fetch_senders(steps)
                for step in steps:
                    await self._clerk.take_step(step)
