"""What systemd is told: that we are there, and still get answers.

A process may be alive and its connection dead. So the watchdog is fed after the
server has answered a question, or while the connection is known to be down and is
being made anew: then another process would do no better.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from xmpp_onion.errors import XmppOnionError
from xmpp_onion.transport import tell_local

__all__ = ["watched"]

log = logging.getLogger(__name__)

_MICROSECONDS: Final = 1_000_000


class Watched(Protocol):
    """A connection that can be asked for."""

    @property
    def is_away(self) -> bool:
        """Whether it is known to be down, and is being made anew."""

    async def ping(self, timeout: float) -> None:
        """Ask the server something; raises if no answer comes."""


@asynccontextmanager
async def watched(
    client: Watched, words_away: Callable[[], str] = lambda: "waiting for the network"
) -> AsyncIterator[Callable[[str], None]]:
    """Tell systemd that we are ready, how we are, and that we end.

    Does nothing if no systemd started us (sd_notify(3)). Yields what tells it how we
    are, in words, where that cannot wait.

    Args:
        client: Is asked how it is.
        words_away: Returns what is told while it is away.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        yield lambda _words: None
        return

    def tell(text: str) -> None:
        try:
            tell_local(path, text)
        except OSError as error:
            log.warning("systemd does not listen: %s", error.strerror)

    async with asyncio.TaskGroup() as tasks:
        tell("READY=1\nSTATUS=connected")
        watching = None
        if seconds := _read_watchdog():
            watching = tasks.create_task(
                _watch(client, tell, words_away, seconds=seconds / 2)
            )
        try:
            yield lambda words: tell(f"STATUS={words}")
        finally:
            tell("STOPPING=1")
            if watching is not None:
                watching.cancel()


def _read_watchdog() -> float:
    """Return within how many seconds systemd wants to hear from us; 0 for never."""
    text = os.environ.get("WATCHDOG_USEC", "")
    is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(text) / _MICROSECONDS if text.isdecimal() and is_ours else 0.0


async def _watch(
    client: Watched,
    tell: Callable[[str], None],
    words_away: Callable[[], str],
    *,
    seconds: float,
) -> None:
    while True:
        started = asyncio.get_running_loop().time()
        if client.is_away:
            tell(f"WATCHDOG=1\nSTATUS={words_away()}")
        elif await _answers(client.ping(seconds)):
            tell("WATCHDOG=1\nSTATUS=connected")
        passed = asyncio.get_running_loop().time() - started
        await asyncio.sleep(max(0.0, seconds - passed))


async def _answers(ping: Awaitable[None]) -> bool:
    try:
        await ping
    except (XmppOnionError, TimeoutError) as error:
        log.warning("the server did not answer: %s", type(error).__name__)
        return False
    return True
