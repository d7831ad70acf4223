"""Durations in options and arguments of commands."""

from collections.abc import Callable
from datetime import timedelta

import click

from xmpp_onion import durations

__all__ = ["duration", "read_duration", "read_option", "write_duration"]

_SECOND = timedelta(seconds=1)


def read_duration(text: str) -> int:
    """Return how long something may be kept, in whole seconds.

    Raises:
        click.BadParameter: It is no such time, or too long.
    """
    from xmpp_onion.timers import LONGEST  # noqa: PLC0415 - it loads the store

    return int(_read(text, _SECOND, LONGEST).total_seconds())


def write_duration(seconds: int) -> str:
    """Return a time as :func:`read_duration` reads it, in the largest unit."""
    return durations.write_duration(timedelta(seconds=seconds))


def read_option(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> int | None:
    """Read the value of an option; for its ``callback``."""
    return None if text is None else read_duration(text)


def duration(
    least: timedelta,
) -> Callable[[click.Context, click.Parameter, str], timedelta]:
    """Return the ``callback`` of an option that is a duration, and no shorter."""

    def read(_: click.Context, _parameter: click.Parameter, text: str) -> timedelta:
        return _read(text, least, durations.LONGEST)

    return read


def _read(text: str, least: timedelta, most: timedelta) -> timedelta:
    """Read whole seconds."""
    try:
        found = durations.read_duration(text, least=least, most=most)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if found % _SECOND:
        raise click.BadParameter(f"{text!a} is no whole number of seconds")
    return found
