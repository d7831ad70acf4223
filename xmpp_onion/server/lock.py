"""One folder, one server: a lock that lives as long as the server's processes."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xmpp_onion.errors import ServerError
from xmpp_onion.server.folder import Folder

__all__ = ["locked"]

_POLL_SECONDS = 0.05
# What a Prosody whose owner was killed may take to follow, in seconds.
_PATIENCE = 2.0


@asynccontextmanager
async def locked(folder: Folder, *, timeout: float = _PATIENCE) -> AsyncIterator[int]:
    """Hold the folder of a server, and yield the descriptor that holds it.

    Prosody inherits the descriptor: after our sudden death the folder is free once
    Prosody ended too, and not before.

    Args:
        folder: The server's folder.
        timeout: Seconds to wait for another server that is about to end.

    Raises:
        ServerError: A server runs there.
    """
    descriptor = os.open(folder.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(int(timeout / _POLL_SECONDS)):
            if _try_lock(descriptor):
                break
            await asyncio.sleep(_POLL_SECONDS)
        else:
            raise ServerError(
                f"the server in {folder.path} runs already",
                why="a process holds the folder",
                fix=f"Stop that one first: xmpp-onion server down {folder.path}",
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
