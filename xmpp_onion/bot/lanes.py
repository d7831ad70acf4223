"""Whose turn it is: one handler at a time for each person, some persons at once.

So nobody's flood keeps another waiting for longer than it takes to look at it, and
what one person says is answered in its order. Who waits for a person's answer steps
aside meanwhile: people who say nothing take nobody's turn.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

__all__ = ["HANDLER", "Lanes", "Turn"]

HANDLER: Final = "bot-handler"
"""The name of each task that handles something: a test tells by it who sleeps."""

# What waits in memory; what is beyond waits in the inbox, on the disk.
_WAITING: Final = 2_000


class Turn:
    """That one works, as one of those who do at once.

    Args:
        slots: One is taken already, and given back with ``end``.
    """

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._needed = [slots]
        self._held = [slots]

    @asynccontextmanager
    async def within(self, places: asyncio.Semaphore) -> AsyncIterator[None]:
        """Be one of a few as well, who step aside with the same word.

        Args:
            places: As many as there may be; waits for one.
        """
        await places.acquire()
        self._needed.append(places)
        self._held.append(places)
        try:
            yield
        finally:
            self._needed.remove(places)
            if places in self._held:
                self._held.remove(places)
                places.release()

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Let another one work meanwhile; at its end wait for a turn again.

        What its handler left running after its end has no turn, and waits for none.
        """
        if not self._held:
            yield
            return
        self._give_back()
        try:
            yield
        finally:
            # The few first: who waits for one of their places takes nobody's turn.
            for each in tuple(reversed(self._needed)):
                await each.acquire()
                if each in self._needed:
                    self._held.append(each)
                else:  # its handler ended meanwhile
                    each.release()

    def end(self) -> None:
        """Let another one work from now on."""
        self._needed.clear()
        self._give_back()

    def _give_back(self) -> None:
        while self._held:
            self._held.pop().release()


Work: TypeAlias = Callable[[Turn], Awaitable[None]]


class Lanes:
    """Work in lanes that take turns; an async context manager that owns its tasks.

    Args:
        at_once: How many lanes work at once, besides those that stepped aside.
    """

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._lanes: OrderedDict[str, deque[Work]] = OrderedDict()
        self._busy: set[str] = set()
        self._room = asyncio.Semaphore(_WAITING)
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_over = False
        self._ended = asyncio.Event()

    async def add(self, lane: str, work: Work) -> None:
        """Append to a lane; waits while too much does."""
        await self._room.acquire()
        self._lanes.setdefault(lane, deque()).append(work)
        self._idle.clear()
        self._news.set()

    @property
    def running(self) -> int:
        """How many work, or stepped aside."""
        return len(self._busy)

    @property
    def waiting(self) -> int:
        """How much waits for its turn."""
        return sum(map(len, self._lanes.values()))

    async def drained(self) -> None:
        """Return when nothing waits and nobody works."""
        await self._idle.wait()

    async def finish(self) -> None:
        """Begin nothing more, and return when nobody works; what waits is left."""
        self._is_over = True
        while self._busy:
            self._ended.clear()
            await self._ended.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                if self._next() is None:
                    self._news.clear()
                    await self._news.wait()
                    continue
                # Who stepped aside waits for one, too, and each has it in his order.
                await self._slots.acquire()
                lane = self._next()
                if lane is None:
                    self._slots.release()
                    continue
                self._busy.add(lane)
                tasks.create_task(self._work(lane), name=HANDLER)

    def _next(self) -> str | None:
        if self._is_over:
            return None
        return next((lane for lane in self._lanes if lane not in self._busy), None)

    async def _work(self, lane: str) -> None:
        work, turn = self._lanes[lane].popleft(), Turn(self._slots)
        try:
            await work(turn)
        finally:
            turn.end()
            self._busy.discard(lane)
            self._ended.set()
            self._room.release()
            if self._lanes[lane]:
                self._lanes.move_to_end(lane)
            else:
                del self._lanes[lane]
            if not self._lanes:
                self._idle.set()
            self._news.set()
