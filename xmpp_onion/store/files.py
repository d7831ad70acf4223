"""The files that SQLite has beside its own, and the lock on an account."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from xmpp_onion import locks, private
from xmpp_onion.errors import StoreLockedError

COMPANIONS = ("-wal", "-shm", "-journal")  # what SQLite may put beside its file

# Seconds: whoever asks whether an account is free has a share of its lock meanwhile.
_PATIENCE = 0.5
_PID_BYTES = 20


def make_place(path: Path) -> Path:
    """Return a file's absolute path, in a folder that is for our user alone.

    Raises:
        StorePermissionError: It cannot be made, or is there and not private.
    """
    path = path.absolute()
    private.make_folder(path.parent)
    return path


def has_content(path: Path) -> bool:
    """Return whether a file is there and not empty."""
    return path.exists() and path.stat().st_size > 0


def create_draft(path: Path) -> None:
    """Create an empty file; SQLite gives those that it puts beside it the same mode.

    What an earlier try left under the name is removed.
    """
    with private.os_errors(path):
        for suffix in ("", *COMPANIONS):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.close(private.create_file(path))


@contextlib.asynccontextmanager
async def hold_lock(path: Path) -> AsyncIterator[None]:
    """Hold the lock file of an account; the kernel releases it when we die.

    It has the process id of its last owner in it, for the message only.

    Raises:
        StoreLockedError: Another process, or this one, holds it already.
        StorePermissionError: The lock file is not ours alone, or not writable.
    """
    with locks.open_lock(path) as descriptor:
        if not await locks.take(path, descriptor, patience=_PATIENCE):
            raise _in_use(path)
        with private.os_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield


def check_free(path: Path) -> None:
    """Return if nobody has a store open, which may change at once.

    Makes and writes nothing, and refuses nobody who opens it meanwhile.

    Args:
        path: The store; its lock file is beside it.

    Raises:
        StoreLockedError: Another process, or this one, has it open.
        StorePermissionError: The lock file is not ours alone, or not readable.
    """
    path = path.absolute()
    lock = path.with_name(path.name + ".lock")
    if locks.is_held(lock):
        raise _in_use(lock)


def _in_use(path: Path) -> StoreLockedError:
    owner = private.read_bytes(path, _PID_BYTES).strip()
    pid = f"process {int(owner)}" if owner.isdigit() else "another process"
    return StoreLockedError(
        f"the account in {path.parent} is in use",
        why=f"{pid} holds it, and one account is one process",
        fix=(
            "Stop the other one, or let it send for you: "
            "`xmpp-onion send` beside `xmpp-onion listen` works"
        ),
    )
