"""Closes the circuits of Tor of which Prosody has had enough.

Prosody ends the connections of a circuit at once, and refuses new ones; but each of
them costs a look, and Tor carries them. The module ``onion_circuits`` says which
circuits those are, and Tor closes them, which ends the attack for the attacker as well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import follow

__all__ = ["close_circuits"]

log = logging.getLogger(__name__)

# Seconds until Prosody is asked again after it ended, as it does for a restart.
_PAUSE = 0.5


async def close_circuits(data: Path, close: Callable[[int], Awaitable[None]]) -> None:
    """Close each circuit that Prosody has cut; runs until it is cancelled.

    Args:
        data: Prosody's data folder, where its socket is.
        close: Is given the number of each.
    """
    while True:
        try:
            async for number in follow(data, "onion-circuits", "onion-circuit"):
                if number.isdecimal():
                    log.info("closing a circuit that asked too much")
                    await close(int(number))
        except ServerError:
            log.debug("prosody is away")
        await asyncio.sleep(_PAUSE)
