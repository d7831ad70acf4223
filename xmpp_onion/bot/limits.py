"""How often: for each person and place, by the clock of the bot."""

from typing import Final

from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.rates import Rate
from xmpp_onion.session import Bucket

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
        self._bucket = Bucket(
            float(rate.count),
            rate.count / rate.seconds,
            names=_NAMES,
            clock=clock.monotonic,
        )

    def __len__(self) -> int:
        return len(self._bucket)

    def take(self, name: str) -> float:
        """Take one, if one is left.

        Returns:
            0.0 if it was; else the seconds until there is one again.
        """
        return 0.0 if self._bucket.take(name) else self._bucket.pause(name)
