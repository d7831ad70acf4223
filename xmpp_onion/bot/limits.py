"""How often: for each person and place, by the clock of the bot."""

from collections import OrderedDict
from typing import Final

from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.durations import Rate

__all__ = ["Limiter"]

# Of how many names the count is kept; who is forgotten starts anew.
_NAMES: Final = 10_000


class Limiter:
    """A bucket for each name: so many at once, refilled over the time of the rate.

    Args:
        rate: How often.
        clock: Says how late it is.
    """

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, name: str) -> float:
        """Take one, if one is left.

        Returns:
            0.0 if it was; else the seconds until there is one again.
        """
        now, per_second = self._clock.monotonic(), self._rate.count / self._rate.seconds
        left, at = self._left.pop(name, (float(self._rate.count), now))
        left = min(float(self._rate.count), left + (now - at) * per_second)
        is_left = left >= 1
        self._left[name] = (left - is_left, now)
        if len(self._left) > _NAMES:
            self._left.popitem(last=False)
        return 0.0 if is_left else (1 - left) / per_second
