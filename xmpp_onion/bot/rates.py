"""Rates as people write them: ``5/m``, ``2/10s``."""

import re
from dataclasses import dataclass
from typing import Final

from xmpp_onion.durations import SECONDS

__all__ = ["Rate"]

_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,3})?([smhd])")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many within a time; all of them may come at once.

    Attributes:
        count: How many.
        seconds: Within how long.
    """

    count: int
    seconds: float

    @classmethod
    def read(cls, text: str) -> "Rate":
        """Return what ``5/m`` or ``2/10s`` says.

        Raises:
            ValueError: It is no rate.
        """
        found = _RATE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!a} is not a rate such as 5/m or 2/10s")
        count, factor, unit = found.groups()
        return cls(int(count), int(factor or 1) * float(SECONDS[unit]))

    def __str__(self) -> str:
        return f"{self.count} in {self.seconds:g} s"
