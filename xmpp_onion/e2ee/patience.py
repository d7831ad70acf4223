"""When to try again what failed, and when no more."""

import time
from collections.abc import Callable

__all__ = ["Patience"]


class Patience:
    """Waits twice as long after each failure, and gives up in the end.

    Only memory: after a restart it begins anew.

    Args:
        first: Seconds after the first failure.
        longest: Seconds at most.
        most: How many failures are the end.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        first: float,
        longest: float,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._longest = longest
        self._most = most
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def is_due(self, name: str) -> bool:
        """Tell whether something may be tried now."""
        _, at = self._failures.get(name, (0, 0.0))
        return at <= self._clock()

    def fail(self, name: str) -> bool:
        """Note a failure; False if it was the last, and the name is forgotten."""
        count, _ = self._failures.pop(name, (0, 0.0))
        if count + 1 >= self._most:
            return False
        # Two to the power of thousands would be no number of seconds.
        wait = min(self._first * 2.0 ** min(count, 30), self._longest)
        self._failures[name] = (count + 1, self._clock() + wait)
        return True

    def forget(self, name: str) -> None:
        """Note that something is done."""
        self._failures.pop(name, None)
