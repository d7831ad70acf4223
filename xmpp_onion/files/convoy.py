"""Several circuits for one file: one alone is the bottleneck of Tor."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

from xmpp_onion.chat import Progress
from xmpp_onion.files.http import MaySend
from xmpp_onion.files.lane import Lane

__all__ = ["LANES", "NewLane", "Tally", "Window", "over_lanes"]

NewLane: TypeAlias = Callable[[], Lane]

# Circuits for one file. More would take guards and relays from others for little.
LANES = 3


async def over_lanes(
    lanes: NewLane,
    numbers: Iterable[int],
    carry: Callable[[Lane, int], Awaitable[None]],
    *,
    count: int = LANES,
) -> None:
    """Carry all chunks, each over one of ``count`` circuits.

    The first that cannot be carried ends all of it: what was done is kept.

    Raises:
        XmppOnionError: As ``carry``; one, not a group.
    """
    left = iter(numbers)

    async def work() -> None:
        async with lanes() as lane:
            for number in left:  # shared: each takes what nobody took
                await carry(lane, number)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(work())
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


class Window:
    """Bounds what the server has not got whole: two chunks, however many circuits.

    That is what is lost if Tor dies. The chunk that is furthest may always go on; the
    others share as much as one chunk has, by their places: two thirds for the second
    of three, one for the last. So circuits that begin at once fall into step, a third
    of a chunk apart, and then each works while the first one does. (With one half for
    either, one of three would always wait.)

    Args:
        chunk_size: Bytes of a chunk at the server.
        circuits: How many carry chunks.
        chunks: How many there are to carry; the last few go side by side.
    """

    def __init__(self, chunk_size: int, circuits: int, chunks: int) -> None:
        self._chunk_size = chunk_size
        self._circuits = circuits
        self._left = chunks
        self._sent: dict[int, int] = {}
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def hold(self, number: int) -> Iterator[MaySend]:
        """Yield what is awaited before bytes of a chunk are sent."""

        async def may_send(sent: int) -> None:
            if sent < self._sent.get(number, 0):  # another circuit begins it anew
                self._set(number, 0)
            while not self._may(number, sent):
                self._changed.clear()
                await self._changed.wait()
            self._set(number, sent)

        try:
            yield may_send
        finally:
            self._sent.pop(number, None)
            self._left -= 1
            self._changed.set()

    def _set(self, number: int, sent: int) -> None:
        self._sent[number] = sent
        self._changed.set()

    def _may(self, number: int, sent: int) -> bool:
        others = [size for each, size in self._sent.items() if each != number]
        own, first = self._sent.get(number, 0), max(others, default=0)
        if own >= first:
            return True
        place = sum(size > own for size in others)
        is_in_turn = sent <= self._share(place)
        return is_in_turn and sum(others) - first + sent <= self._chunk_size

    def _share(self, place: int) -> float:
        """Return the bytes that one behind the first may have sent.

        All shares make one chunk: 2/3 and 1/3, or 3/6, 2/6 and 1/6.
        """
        circuits = min(self._circuits, max(self._left, place + 1))
        parts = circuits * (circuits - 1) // 2
        return self._chunk_size * (circuits - place) / parts


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
