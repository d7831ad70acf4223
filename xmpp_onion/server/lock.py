"""One folder, one server: a lock that lives as long as the server's processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xmpp_onion import locks
from xmpp_onion.errors import ServerError
from xmpp_onion.server.folder import Folder

__all__ = ["locked"]

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
        StorePermissionError: The lock file is not ours alone.
    """
    with locks.open_lock(folder.lock_file) as descriptor:
        if not await locks.take(folder.lock_file, descriptor, patience=timeout):
            raise ServerError(
                f"the server in {folder.path} runs already",
                why="a process holds the folder",
                fix=f"Stop that one first: xmpp-onion server down {folder.path}",
            )
        yield descriptor
