"""Several circuits for one file: one alone is the bottleneck of Tor."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from xmpp_onion.chat import Progress
from xmpp_onion.files.lane import Lane

__all__ = ["LANES", "Claim", "NewLane", "Tally", "over_lanes"]

NewLane: TypeAlias = Callable[[], Lane]
Claim: TypeAlias = Callable[[], int | None]
"""Returns the number that the same lane will carry next; None if there is no more."""

# Circuits for one file. More would take guards and relays from others for little.
LANES = 3


async def over_lanes(
    lanes: NewLane,
    numbers: Iterable[int],
    carry: Callable[[Lane, int, Claim], Awaitable[None]],
    *,
    count: int = LANES,
) -> None:
    """Carry all chunks, each over one of ``count`` circuits.

    Who carries one may claim what the same circuit carries next. The first that cannot
    be carried ends all of it: what was done is kept.

    Raises:
        XmppOnionError: As ``carry``; one, not a group.
    """
    left = iter(numbers)

    async def work() -> None:
        claimed: deque[int] = deque()

        def claim() -> int | None:
            for number in left:  # shared: each takes what nobody took
                claimed.append(number)
                return number
            return None

        async with lanes() as lane:
            while claimed or claim() is not None:
                await carry(lane, claimed.popleft(), claim)
            await lane.settle()

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(work())
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


class Tally:
    """Adds up how far the chunks of a file are.

    Args:
        told: Who wants to know.
        total: Bytes of the file.
        done: Bytes that were there before.
    """

    def __init__(self, told: Progress | None, total: int, done: int = 0) -> None:
        self._told = told
        self._total = total
        self._done = done
        self._under_way: dict[int, int] = {}

    def part(self, number: int, size: int) -> None:
        """Note how many bytes of a chunk are out, or came."""
        self._under_way[number] = size
        self._tell()

    def finish(self, number: int, size: int) -> None:
        """Note that a chunk is done."""
        self._under_way.pop(number, None)
        self._done += size
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            now = self._done + sum(self._under_way.values())
            self._told(min(now, self._total), self._total)
