"""Does what is due by the clock, and keeps when it was done last."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.memory import Memory
from xmpp_onion.bot.router import Job

__all__ = ["Jobs"]

log = logging.getLogger(__name__)

# Seconds slept at most: a clock that was set is noticed within them.
_LONGEST_SLEEP: Final = 300.0
_PREFIX: Final = "job:"


class Jobs:
    """The jobs of a bot.

    Args:
        jobs: What is to be done.
        memory: Where the times are kept.
        clock: Says how late it is.
        call: Does a job; must not raise.

    Attributes:
        due: When each is due next.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        *,
        memory: Memory,
        clock: Clock,
        call: Callable[[Job], Awaitable[None]],
    ) -> None:
        self._jobs = tuple(jobs)
        self._memory = memory
        self._clock = clock
        self._call = call
        self.due: dict[str, datetime] = {}

    async def run(self) -> None:
        """Do each when it is due, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for job in self._jobs:
                tasks.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        due = await self._first(job)
        while True:
            self.due[job.name] = due
            await self._wait(due)
            # Noted first: whoever is killed by it does not do it again at once.
            now = self._clock.now()
            await self._memory.set(_PREFIX + job.name, now.isoformat())
            await self._call(job)
            due = job.schedule.after(now)
            if due <= self._clock.now():  # it took longer than its pause
                due = job.schedule.after(self._clock.now())

    async def _first(self, job: Job) -> datetime:
        """Return when it is due for the first time in this process."""
        now = self._clock.now()
        last = _read(await self._memory.get(_PREFIX + job.name))
        if last is None or last > now:  # never done, or the clock was put back
            return job.schedule.after(now)
        due = job.schedule.after(last)
        if due > now or job.schedule.catches_up:
            return due
        return job.schedule.after(now)

    async def _wait(self, due: datetime) -> None:
        while (left := due - self._clock.now()) > timedelta():
            await self._clock.sleep(min(left.total_seconds(), _LONGEST_SLEEP))


def _read(kept: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(kept)).astimezone(UTC) if kept else None
    except ValueError:
        return None
