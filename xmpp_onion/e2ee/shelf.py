"""Whom something is kept of in memory, and who is forgotten when there is no room."""

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Shelf"]


class Shelf:
    """Names by their last use, each with what it weighs.

    Args:
        room: How much all weigh together; the latest used may weigh more alone.
        is_kept: Tells of a name whether it stays whatever it weighs.
    """

    def __init__(self, room: int, is_kept: Callable[[str], bool]) -> None:
        self._room = room
        self._is_kept = is_kept
        self._weights: OrderedDict[str, int] = OrderedDict()
        self._total = 0

    def __len__(self) -> int:
        return len(self._weights)

    def put(self, name: str, weight: int) -> list[str]:
        """Note that a name was used now; return the names to forget for it."""
        self._take(name)
        if not self._is_kept(name):
            self._weights[name] = weight
            self._total += weight
        gone = list[str]()
        while self._total > self._room and len(self._weights) > 1:
            oldest = next(iter(self._weights))
            self._take(oldest)
            if not self._is_kept(oldest):  # who became a contact meanwhile stays
                gone.append(oldest)
        return gone

    def _take(self, name: str) -> None:
        self._total -= self._weights.pop(name, 0)
