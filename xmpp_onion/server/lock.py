"""One folder, one server: locks that live as long as the server's processes."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xmpp_onion import locks, private
from xmpp_onion.errors import ServerError
from xmpp_onion.server.folder import Folder

__all__ = [
    "check_idle",
    "is_running",
    "kept",
    "locked",
    "read_keeper",
    "runs_already",
]

# What a Prosody whose owner was killed may take to follow, in seconds.
_PATIENCE = 2.0
# What a server may take to end in order whose keeper was killed, in seconds.
_ORPHAN_PATIENCE = 30.0
_NUMBER_LIMIT_BYTES = 32


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
            raise runs_already(folder)
        yield descriptor


@asynccontextmanager
async def kept(folder: Folder, *, timeout: float = _PATIENCE) -> AsyncIterator[int]:
    """Be the one process that keeps the server of a folder running.

    Yields the descriptor that holds the folder, for a child to inherit that runs the
    server: if we are killed, the folder is free once that has ended too.

    Args:
        folder: The server's folder.
        timeout: Seconds to wait for another one that is about to end; longer if it
            was killed, and what it started ends in order.

    Raises:
        ServerError: Another one does.
        StorePermissionError: The file is not ours alone.
    """
    with locks.open_lock(folder.keeper_file) as descriptor:
        if not await _take_over(folder, descriptor, timeout):
            raise runs_already(folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        yield descriptor


async def _take_over(folder: Folder, descriptor: int, timeout: float) -> bool:
    if await locks.take(folder.keeper_file, descriptor, patience=timeout):
        return True
    keeper = read_keeper(folder)
    if keeper is None or is_running(keeper):
        return False
    return await locks.take(folder.keeper_file, descriptor, patience=_ORPHAN_PATIENCE)


def is_running(pid: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def read_keeper(folder: Folder) -> int | None:
    """Return the process that keeps the server of a folder running, or None.

    Raises:
        StorePermissionError: The file is not ours alone.
    """
    if not locks.is_held(folder.keeper_file):
        return None
    text = private.read_bytes(folder.keeper_file, _NUMBER_LIMIT_BYTES)
    return int(text) if text.isdigit() else None  # locked, and not written yet


def check_idle(folder: Folder) -> None:
    """Refuse a folder whose server a process keeps running.

    Raises:
        ServerError: One does.
        StorePermissionError: The file that says so is not ours alone.
    """
    if read_keeper(folder) is not None:
        raise runs_already(folder)


def runs_already(folder: Folder) -> ServerError:
    """Return the error for whoever comes second."""
    keeper = read_keeper(folder)
    who = "a process" if keeper is None else f"process {keeper}"
    return ServerError(
        f"the server in {folder.path} runs already",
        why=f"{who} holds the folder",
        fix=f"Stop that one first: xmpp-onion server down {folder.path}",
    )
