"""Whose turn it is: what comes, by whom it is of, so that nobody waits for a crowd.

Contacts, our own account and our server have the near lane. Everybody else has a far
one: a server of others with all of its people, a room, an account of our own server.
Far lanes take turns with each other, and all of them with the near one. The order
within a lane stays.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["NEAR", "Lanes", "Load"]

NEAR: Final = ""
"""The lane of contacts, of our own account and of our server."""

# What comes of the near lane in a row while others wait: friends who write all the
# time must not keep a stranger waiting for ever.
_IN_A_ROW: Final = 8


class Sized(Protocol):
    """What takes memory."""

    @property
    def size_bytes(self) -> int:
        """About how much."""


EntryT = TypeVar("EntryT", bound=Sized)


@dataclass(slots=True)
class Load:
    """What waits in the near lane, or in all far ones.

    Attributes:
        length: Entries.
        size_bytes: What they take.
    """

    length: int = 0
    size_bytes: int = 0


class Lanes(Generic[EntryT]):
    """Entries in their lanes.

    Attributes:
        near: What waits in the near lane.
        far: What waits in all others.
    """

    def __init__(self) -> None:
        self.near, self.far = Load(), Load()
        self._first: deque[_Waiting[EntryT]] = deque()  # before all lanes
        self._near: deque[_Waiting[EntryT]] = deque()
        self._far: OrderedDict[str, deque[_Waiting[EntryT]]] = OrderedDict()
        # By arrival, so that the oldest is known without a look into each lane.
        self._numbers: OrderedDict[int, None] = OrderedDict()
        self._arrivals = 0
        self._in_a_row = 0

    def __len__(self) -> int:
        return self.near.length + self.far.length

    def __iter__(self) -> Iterator[EntryT]:
        yield from (one.entry for one in self._all())

    def _all(self) -> Iterator["_Waiting[EntryT]"]:
        yield from self._first
        yield from self._near
        for lane in self._far.values():
            yield from lane

    def add(self, entry: EntryT, lane: str) -> None:
        """Append an entry to a lane."""
        self._arrivals += 1
        one = _Waiting(self._arrivals, entry, lane)
        self._numbers[one.number] = None
        self._note(one, 1)
        (self._far.setdefault(lane, deque()) if lane else self._near).append(one)

    def _note(self, one: "_Waiting[EntryT]", sign: int) -> None:
        load = self.far if one.lane else self.near
        load.length += sign
        load.size_bytes += sign * one.entry.size_bytes

    def bar(self) -> None:
        """Let nothing that comes from now on overtake what waits."""
        self._first = deque(sorted(self._all(), key=lambda one: one.number))
        self._near.clear()
        self._far.clear()

    def keep(self, is_kept: Callable[[EntryT], bool]) -> None:
        """Leave out all entries but some."""
        for one in [one for one in self._all() if not is_kept(one.entry)]:
            self._note(one, -1)
            del self._numbers[one.number]
        self._first = self._left(self._first)
        self._near = self._left(self._near)
        lanes = {name: self._left(lane) for name, lane in self._far.items()}
        self._far = OrderedDict((name, lane) for name, lane in lanes.items() if lane)

    def _left(self, lane: Iterable["_Waiting[EntryT]"]) -> deque["_Waiting[EntryT]"]:
        return deque(one for one in lane if one.number in self._numbers)

    def take(self) -> tuple[EntryT, bool]:
        """Return whose turn it is, and whether all that came before was taken."""
        one = self._next()
        self._note(one, -1)
        is_oldest = one.number == next(iter(self._numbers))
        del self._numbers[one.number]
        return one.entry, is_oldest

    def _next(self) -> "_Waiting[EntryT]":
        if self._first:
            return self._first.popleft()
        if self._near and not (self._far and self._in_a_row >= _IN_A_ROW):
            self._in_a_row += 1
            return self._near.popleft()
        self._in_a_row = 0
        name, lane = self._far.popitem(last=False)
        one = lane.popleft()
        if lane:
            self._far[name] = lane  # at the end: it has to wait for the others now
        return one


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[EntryT]):
    """What stands in a lane; the number tells who came first."""

    number: int
    entry: EntryT
    lane: str
