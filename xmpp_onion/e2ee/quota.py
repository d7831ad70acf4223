"""How often somebody may do something: at once, and from then on."""

import time
from collections.abc import Callable

__all__ = ["Quota"]

# Names that are remembered. Who was forgotten starts anew; it takes as many others
# as this to be forgotten.
_NAMES = 10_000


class Quota:
    """A number of goes for each name, which fill up again with time.

    Args:
        most: How many goes a name has at once.
        every: Seconds until one more.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, most: int, every: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._every = every
        self._clock = clock
        # When all goes of a name are there again. The longest unused is first.
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str) -> bool:
        """Take a go; False if there is none left."""
        now = self._clock()
        full_at = max(self._full_at.pop(name, now), now)
        has_one = full_at - now <= (self._most - 1) * self._every
        self._full_at[name] = full_at + self._every if has_one else full_at
        if len(self._full_at) > _NAMES:
            del self._full_at[next(iter(self._full_at))]
        return has_one
