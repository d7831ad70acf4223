"""Where files come to lie: drafts that nobody follows, names that nobody overwrites."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from xmpp_onion.errors import DiskFullError, FileError
from xmpp_onion.files.names import numbered, safe_name
from xmpp_onion.private import os_errors

__all__ = ["check_room", "draft", "settle"]

# Bytes of the disk that a file may never take: the account's store has to go on.
_RESERVE: Final = 32 * 1024 * 1024
# Files of one name; who has more of them has another problem.
_NAMES: Final = 10_000
_SAFELY: Final = os.O_NOFOLLOW | os.O_CLOEXEC


def check_room(folder: Path, size: int) -> None:
    """Refuse what the disk cannot hold, before any of it is fetched.

    Raises:
        DiskFullError: Too little is free.
    """
    with os_errors(folder):
        free = shutil.disk_usage(folder).free - _RESERVE
    if size > free:
        raise DiskFullError(
            "the file was not fetched",
            why=f"it needs {size} bytes of room, and the disk has {max(free, 0)}",
            fix="Make room, or choose another folder.",
        )


@contextlib.contextmanager
def draft(folder: Path, name: str, *, keep: bool) -> Iterator[BinaryIO]:
    """Open a hidden file beside where another shall be, for us alone.

    Args:
        folder: Where.
        name: One that nobody else can guess, or somebody could be in the way.
        keep: What is in it stays, if the block fails: for going on later. If nothing
            is, nothing stays.

    Raises:
        FileError: Another process is at it.
        StoreError: It cannot be made there.
    """
    path = folder / name
    with os_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFELY, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FileError(
                "the file is being fetched already",
                why="another process is at it",
                fix="Wait until it is done.",
            ) from None
        try:
            with os_errors(path):
                yield file
        except BaseException:
            if not keep or _is_empty(file):
                path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


def _is_empty(file: BinaryIO) -> bool:
    with contextlib.suppress(OSError):  # a full disk, which is told of already
        file.flush()
    return os.fstat(file.fileno()).st_size == 0


def settle(file: BinaryIO, draft_path: Path, name: str) -> Path:
    """Give a finished draft its name, or one with a number if that is taken.

    Args:
        file: The draft, open.
        draft_path: Where it is.
        name: What somebody calls it; made safe here.
    """
    folder, safe = draft_path.parent, safe_name(name)
    file.flush()
    os.fsync(file.fileno())
    for number in range(1, _NAMES):
        path = folder / numbered(safe, number)
        try:
            # Nothing is overwritten, and no link followed: the name is new, and ours.
            os.close(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
            )
        except FileExistsError:
            continue
        draft_path.replace(path)
        return path
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder / safe))
