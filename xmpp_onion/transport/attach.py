"""Find a Tor that runs already, and use it."""

import contextlib
import functools
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from xmpp_onion.errors import ControlPortError, TorNotRunningError
from xmpp_onion.transport.control import Control, Place, open_control
from xmpp_onion.transport.dial import Endpoint, probe
from xmpp_onion.transport.link import Link

__all__ = ["attached", "read_place"]

log = logging.getLogger(__name__)

# The system's daemon, then Tor Browser; each with where its control port may be.
_DEFAULTS: Final = {
    Endpoint("127.0.0.1", 9050): (
        Endpoint("127.0.0.1", 9051),
        Path("/run/tor/control"),
    ),
    Endpoint("127.0.0.1", 9150): (Endpoint("127.0.0.1", 9151),),
}


def read_place(text: str) -> Place:
    """Read where a control port is: ``127.0.0.1:9051``, or the path of a socket."""
    if text.startswith(("/", "unix:")):
        return Path(text.removeprefix("unix:"))
    return Endpoint.parse(text)


@contextlib.asynccontextmanager
async def attached(
    socks: Endpoint | None,
    control: Place | None,
    *,
    password: str | None,
    pool: Executor,
) -> AsyncIterator[Link]:
    """Use a running Tor until the block ends; it goes on running.

    Raises:
        TorNotRunningError: Nothing answers at ``socks``, or at ``control`` if
            that was given.
        ControlPortError: A password was given and the control port does not let
            us in. Without one we go on without control.
    """
    found = await _find_socks(socks)
    places = _DEFAULTS.get(found, ()) if control is None else (control,)
    async with contextlib.AsyncExitStack() as stack:
        link = Link(found)
        for place in places:
            opener = functools.partial(
                open_control, place, pool=pool, password=password
            )
            try:
                connection = await stack.enter_async_context(opener())
            except ControlPortError as error:
                if password is not None:
                    raise
                link = Link(found, no_control=error)
                continue
            except TorNotRunningError:
                if control is not None:
                    raise
                continue
            if control is not None or await _is_of(connection, found):
                link = Link(found, connection, reopen=opener)
                break
        log.info("attached to %s, control port: %s", found, link.control is not None)
        yield link


async def _find_socks(wanted: Endpoint | None) -> Endpoint:
    if wanted is not None:
        await probe(wanted)
        return wanted
    for candidate in _DEFAULTS:
        with contextlib.suppress(TorNotRunningError):
            await probe(candidate)
            return candidate
    raise TorNotRunningError(
        "no Tor runs on this machine",
        why=f"nothing answers at {' or '.join(map(str, _DEFAULTS))}",
        fix="Start one: `sudo systemctl start tor`, or open Tor Browser; or give "
        "the port of another one: `--socks HOST:PORT`.",
    )


async def _is_of(control: Control, socks: Endpoint) -> bool:
    """Whether a control port that we only guessed belongs to that SOCKS port."""
    return f'"{socks}"' in (await control.get_info("net/listeners/socks")).split()
