"""Lock files: one process at a time, and the kernel lets go when it dies."""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from xmpp_onion import private
from xmpp_onion.errors import StoreError, StoreLockedError

__all__ = ["hold", "is_held", "open_lock", "take", "try_lock"]

_POLL_SECONDS = 0.05
_TRIES = 100  # five seconds


@contextlib.contextmanager
def open_lock(path: Path) -> Iterator[int]:
    """Open a lock file, made private if it is missing, and yield its descriptor.

    A lock taken on it lasts until the block ends, and until every child that
    inherited the descriptor ended too.

    The file stays: to remove it would let two processes lock two files of one name.

    Raises:
        StorePermissionError: It is not ours alone, or cannot be made or written.
    """
    descriptor = private.open_file(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold a lock file for a few milliseconds, and wait for who does the same.

    Raises:
        StoreLockedError: Somebody does not let go.
        StoreError: As :func:`open_lock` and :func:`take`.
    """
    with open_lock(path) as descriptor, _lock_errors(path):
        for _ in range(_TRIES):
            if try_lock(descriptor):
                yield
                return
            time.sleep(_POLL_SECONDS)
        raise StoreLockedError(
            f"{path} is held by another process",
            why="it is locked for an instant only, as a rule",
            fix=f"See which one: fuser {path}",
        )


async def take(path: Path, descriptor: int, *, patience: float = 0.0) -> bool:
    """Lock what ``open_lock(path)`` opened, and return whether it is ours now.

    Args:
        path: For the error only.
        descriptor: The open file.
        patience: Seconds to wait for who is about to let go.

    Raises:
        StoreError: The file system has no locks.
    """
    with _lock_errors(path):
        for _ in range(int(patience / _POLL_SECONDS)):
            if try_lock(descriptor):
                return True
            await asyncio.sleep(_POLL_SECONDS)
        return try_lock(descriptor)


def is_held(path: Path) -> bool:
    """Return whether somebody holds a lock file, which is neither made nor written.

    To ask is to share the lock for a moment; many may ask at once, and who takes
    it meanwhile needs a little patience.

    Raises:
        StorePermissionError: The file is not ours alone, or cannot be read.
    """
    try:
        descriptor = private.open_to_read(path)
    except FileNotFoundError:
        return False
    try:
        with _lock_errors(path):
            return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file, unless another has it locked; return whether it is ours.

    Raises:
        OSError: The file system has no locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _lock_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path} cannot be locked",
            why=error.strerror or "",
            fix="Keep it on a local file system",
        ) from error
