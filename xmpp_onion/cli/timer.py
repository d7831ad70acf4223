"""``room timer`` and ``contact timer``: how long what you say may be kept."""

import asyncio

import click

from xmpp_onion.account import Account
from xmpp_onion.chat import Line
from xmpp_onion.cli.duration import read_duration, write_duration
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings

__all__ = ["argument", "turn"]

_OFF = "off"


def _read(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> int | str | None:
    return text if text in {None, _OFF} else read_duration(str(text))


argument = click.argument("time", metavar="[TIME|off]", required=False, callback=_read)
"""What a conversation is given, if it is not only asked for."""


def turn(settings: Settings, whose: str, time: int | str | None) -> int:
    """Set or show the timer of a conversation, and return the exit code.

    Args:
        settings: The global options.
        whose: A JID, or the bare name of a room of our own server.
        time: Seconds, ``off``, or None to show it.
    """
    request: Line = {"do": "timer", "jid": whose}
    if time is not None:
        request = {**request, "seconds": None if time == _OFF else time}

    def alone(account: Account) -> Line:
        from xmpp_onion.agent import timers  # noqa: PLC0415 - it takes a second to load

        return asyncio.run(timers.turn_alone(account, request))

    return run(settings, request, _told, offline=alone)


def _told(line: Line) -> str:
    seconds = line["seconds"]
    kept = f"for {write_duration(seconds)}" if isinstance(seconds, int) else "for ever"
    return visible(f"{line['jid']}: what you say there from now on may be kept {kept}")
