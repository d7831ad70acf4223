"""Times as people write them: ``90s``, ``30m``, ``1h``, ``7d``, ``2w``."""

import re
from typing import Final

import click

__all__ = ["read_duration", "read_option", "write_duration"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_FORM: Final = re.compile("([0-9]{1,9})([smhdw])")


def read_duration(text: str) -> int:
    """Return how long something may be kept, in seconds.

    Raises:
        click.BadParameter: It is no such time, or too long.
    """
    from xmpp_onion.timers import LONGEST  # noqa: PLC0415 - it loads the store

    found = _FORM.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST.total_seconds():
        raise click.BadParameter(
            f"{text!r} is no time such as 90s, 30m, 1h, 7d or 2w, a year at most"
        )
    return seconds


def write_duration(seconds: int) -> str:
    """Return a time as :func:`read_duration` reads it, in the largest unit."""
    units = [unit for unit, size in _UNITS.items() if seconds % size == 0]
    return f"{seconds // _UNITS[units[-1]]}{units[-1]}"


def read_option(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> int | None:
    """Read the value of an option; for its ``callback``."""
    return None if text is None else read_duration(text)
