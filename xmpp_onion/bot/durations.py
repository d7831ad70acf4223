"""Durations and rates as people write them: ``2h30m``, ``5/m``."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

__all__ = ["Rate", "read_duration"]

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PART: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhdw])")
_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,3})?([smhd])")
# Nobody mutes an alert for longer, and it stays far from where timedelta overflows.
_LONGEST: Final = timedelta(days=3660)


def read_duration(text: str) -> timedelta:
    """Return what ``90s``, ``5m``, ``2h30m``, ``3d`` or ``1w`` says.

    Raises:
        ValueError: It is none, or longer than ten years.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!a} is not a duration such as 90s, 5m, 2h30m or 3d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!a} is longer than ten years")
    return timedelta(seconds=seconds)


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
        return cls(int(count), int(factor or 1) * float(_SECONDS[unit]))

    def __str__(self) -> str:
        return f"{self.count} in {self.seconds:g} s"
