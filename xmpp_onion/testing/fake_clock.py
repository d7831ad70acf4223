"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """Time by order; see ``FakeServer.advance``.

    Args:
        now: What it shows first.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._start = now or datetime(2026, 1, 1, tzinfo=UTC)
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, str, asyncio.Event]] = []
        self._numbers = itertools.count()

    @property
    def sleepers(self) -> int:
        """How many wait for a time."""
        return len(self._sleepers)

    def sleeping(self, name: str) -> int:
        """Return how many tasks of this name wait for a time."""
        return sum(name == entry[2] for entry in self._sleepers)

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Return the seconds that passed."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was moved by so much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        task = asyncio.current_task()
        name = "" if task is None else task.get_name()
        entry = (self._passed + seconds, next(self._numbers), name, asyncio.Event())
        heapq.heappush(self._sleepers, entry)
        try:
            await entry[3].wait()
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)
                heapq.heapify(self._sleepers)

    def step(self, until: float) -> bool:
        """Wake the next who waits for a time up to ``until``; else go there.

        Returns:
            Whether somebody was woken.
        """
        if self._sleepers and self._sleepers[0][0] <= until:
            at, _, _, woken = heapq.heappop(self._sleepers)
            self._passed = max(self._passed, at)
            woken.set()
            return True
        self._passed = until
        return False
