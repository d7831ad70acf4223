"""Says one thing at once, and what follows soon as a number, later."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Silence"]

# Seconds of silence after something was told; twice as long each time that more
# came meanwhile. So whatever is done ten thousand times costs an event an hour.
_FIRST: Final = 60.0
_LONGEST: Final = 3600.0


class Silence:
    """A time in which what happens is only counted.

    Args:
        tell: Tells what was counted; false if nothing was.
        first: Seconds of the first silence; each further one is twice as long.
    """

    def __init__(
        self, tell: Callable[[], Awaitable[bool]], *, first: float = _FIRST
    ) -> None:
        self._tell = tell
        self._first = first
        self._begun = asyncio.Event()

    @property
    def is_kept(self) -> bool:
        """Whether something was told a short while ago."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Count from now on, and tell the number when it is over."""
        self._begun.set()

    async def run(self) -> None:
        """Tell what was counted whenever a silence is over; never returns."""
        while True:
            await self._begun.wait()
            seconds = self._first
            while True:
                await asyncio.sleep(seconds)
                if not await self._tell():
                    break
                seconds = min(seconds * 2, max(_LONGEST, self._first))
            self._begun.clear()
