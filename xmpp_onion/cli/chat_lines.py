"""The lines that were typed in a terminal and are not done: none is lost in silence."""

import asyncio
from collections import deque

__all__ = ["Lines"]


class Lines:
    """Lines in their order; each stays here until the one behind it is asked for.

    Attributes:
        in_hand: The line that is being done. Whoever was interrupted at it does not
            know whether it is said.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._news = asyncio.Event()
        self._has_ended = False
        self.in_hand = ""

    def __len__(self) -> int:
        """Return how many are not done."""
        return len(self._waiting) + bool(self.in_hand)

    def add(self, line: str) -> None:
        """Let a line be done when those before it are."""
        self._waiting.append(line)
        self._news.set()

    def end(self) -> None:
        """Let :meth:`next` return None behind the last line."""
        self._has_ended = True
        self._news.set()

    async def next(self) -> str | None:
        """Return the next line; the one before is done. None at the end."""
        self.in_hand = ""
        while not self._waiting:
            if self._has_ended:
                return None
            self._news.clear()
            await self._news.wait()
        self.in_hand = self._waiting.popleft()
        return self.in_hand

    def interrupt(self) -> str:
        """Take out the line that was being done, and return it; empty if none was."""
        line, self.in_hand = self.in_hand, ""
        return line

    def give_up(self) -> list[str]:
        """Take out all lines that nobody has begun with, and return them."""
        lines = list(self._waiting)
        self._waiting.clear()
        return lines
