"""Stop a server that another process runs."""

import asyncio
import contextlib
import os
import shlex
import signal
from pathlib import Path

from xmpp_onion import locks
from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.lock import is_running, kept, locked, read_keeper

__all__ = ["stop"]


async def stop(folder: Path, *, timeout: float = 30.0) -> None:
    """Tell the server in ``folder`` to end, and wait until it has.

    The process that runs it takes the onion service down and ends as well.

    Args:
        folder: The server's folder.
        timeout: Seconds until this gives up.

    Raises:
        ServerError: No server is or runs there, or it does not end.
    """
    place = Folder(folder, find_unprivileged_user())
    place.read_onion()  # a path that was mistyped is no server that is down
    pid = read_keeper(place)
    if pid is None or not is_running(pid):  # it runs inside another program, if it does
        if not locks.is_held(place.lock_file):
            raise ServerError(
                f"the server in {folder} does not run",
                why="no process holds its folder",
                fix=f"Start it: xmpp-onion server up {shlex.quote(str(folder))}",
            )
        pid = int(await ask(place.data, 'return require "util.pposix".getpid()'))
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, signal.SIGTERM)
    try:
        async with (
            asyncio.timeout(timeout),
            kept(place, timeout=timeout),
            locked(place, timeout=timeout),
        ):
            pass
    except (ServerError, TimeoutError) as error:
        raise ServerError(
            "the server does not end",
            why=f"it still held its folder after {timeout:.0f} seconds",
            fix="End the process that runs it.",
        ) from error
