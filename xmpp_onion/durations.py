"""Durations as people write them: ``90s``, ``2h30m``, ``1.5d``."""

import re
from datetime import timedelta
from typing import Final

__all__ = ["LONGEST", "SECONDS", "read_duration", "write_duration"]

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""How many are in a unit; the units from the smallest to the largest."""
LONGEST: Final = timedelta(days=3660)
"""Ten years: nobody means more, and it stays far from where timedelta overflows."""

_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhdw])")
# Each unit once, with room to spare; more is no duration, and fills no error.
_TEXT_LIMIT: Final = 80


def read_duration(
    text: str, *, least: timedelta = timedelta(0), most: timedelta = LONGEST
) -> timedelta:
    """Return what ``90s``, ``5m``, ``2h30m``, ``3d`` or ``1w`` says.

    Args:
        text: What was typed.
        least: The shortest that is accepted.
        most: The longest that is accepted.

    Raises:
        ValueError: It is none, or out of bounds; says so in words for a person.
    """
    parts = _PART.findall(text) if len(text) <= _TEXT_LIMIT else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        shown = text[:_TEXT_LIMIT]
        raise ValueError(f"{shown!a} is not a duration such as 90s, 5m, 2h30m or 3d")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if seconds > most.total_seconds():
        raise ValueError(f"{text!a} is longer than {write_duration(most)}")
    if seconds < least.total_seconds():
        raise ValueError(f"{text!a} is shorter than {write_duration(least)}")
    return timedelta(seconds=seconds)


def write_duration(duration: timedelta) -> str:
    """Return whole seconds as :func:`read_duration` reads them, in the largest unit."""
    seconds = int(duration.total_seconds())
    unit = [unit for unit, size in SECONDS.items() if seconds % size == 0][-1]
    return f"{seconds // SECONDS[unit]}{unit}"
