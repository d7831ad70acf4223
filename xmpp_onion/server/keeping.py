"""A server that goes on: what ended is started again, and how it is can be seen."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

from xmpp_onion.errors import ProsodyError, ServerError, XmppOnionError
from xmpp_onion.server.health import Health, State
from xmpp_onion.server.service import Server
from xmpp_onion.session.connection import backoff

__all__ = ["keep"]

log = logging.getLogger(__name__)

# Seconds between two looks at a server that runs: what a person takes for "now", at
# a cost of under a thousandth of a core.
_PAUSE = 2.0
# Seconds before Prosody is started again, the first time and at most. A fault that
# stays costs one start a minute.
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
# Who ran this many seconds was well: the next end is another story.
_WELL_SECONDS = 60.0


async def keep(
    server: Server, *, again: asyncio.Event | None = None, pause: float = _PAUSE
) -> AsyncIterator[Health]:
    """Keep a server running, and yield how it is, until it is told to end.

    A Prosody that ends by itself is started again, at once or after a delay that
    grows; an onion service follows its Tor (`OnionService`).

    Args:
        server: One that was entered.
        again: Set to have Prosody restarted as the server is to be now.
        pause: Seconds between two looks at it.
    """
    loop = asyncio.get_running_loop()
    delays, began = backoff(_FIRST_DELAY, _LONGEST_DELAY, _whole), loop.time()
    while True:
        try:
            if await _has_ended(server, pause):
                return
            if again is not None and again.is_set():
                again.clear()
                log.info("the server is started again, as it was told to")
                await server.restart()
            yield await server.health()
        except ProsodyError as error:
            log.warning("prosody ended by itself and is started again: %s", error.why)
            if loop.time() > began + _WELL_SECONDS:
                delays = backoff(_FIRST_DELAY, _LONGEST_DELAY, _whole)
            yield Health(State.MENDING)
            await _mend(server, delays)
            began = loop.time()
        except ServerError as error:  # it is busy, or ended just now
            log.info("prosody did not say how it is: %s", error.why)


async def _has_ended(server: Server, pause: float) -> bool:
    """Wait a little, and return whether the server was told to end.

    Raises:
        ProsodyError: It ended by itself.
    """
    try:
        async with asyncio.timeout(pause):
            await server.wait()
    except TimeoutError:
        return False
    return True


async def _mend(server: Server, delays: Iterator[float]) -> None:
    for delay in delays:
        await asyncio.sleep(delay)
        try:
            await server.restart()
        except XmppOnionError as error:
            log.warning("the server could not be started: %s", error.why or error.what)
        else:
            return


def _whole() -> float:
    """Return the share of a delay that is waited: here nobody else waits along."""
    return 1.0
