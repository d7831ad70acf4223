"""From the old name of a server to the new one, without a moment in between.

All that changes is made beside what is there, in one folder. Renaming that folder is
the moment: before it the server has its old name, whatever happens, and after it the
new one. What then has to be put into its place is put there by whoever comes next, if
the process that did it was killed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from xmpp_onion import locks, private

__all__ = ["commit", "discard", "draft", "finish", "is_pending"]

_DRAFT: Final = "rotation.new"
_PENDING: Final = "rotation"
_LOCK: Final = "rotation.lock"
_DATA: Final = "data"
_OLD_DATA: Final = "data.old"
# Last: from then on nothing is left to do, and who reads the name has all of it.
_LAST: Final = "onion.key"


def is_pending(folder: Path) -> bool:
    """Return whether a server has its new name, and not all of it is in its place."""
    return (folder / _PENDING).is_dir()


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """Yield a new folder for what is to be put in place; see `commit`.

    In it: ``data`` for Prosody's, and files for the server's own folder. Nothing of it
    is left if the block fails.
    """
    discard(folder)
    place = folder / _DRAFT
    private.make_folder(place)
    try:
        yield place
    finally:
        discard(folder)


def discard(folder: Path) -> None:
    """Remove what a process that was killed has left, before its moment."""
    shutil.rmtree(folder / _DRAFT, ignore_errors=True)


def commit(folder: Path) -> None:
    """Let what was made count, from this moment on.

    Raises:
        StoreError: It could not be; nothing has changed.
    """
    os.sync()  # thousands of files: one by one it would take minutes
    with private.os_errors(folder):
        (folder / _DRAFT).rename(folder / _PENDING)
        _sync(folder)


def finish(folder: Path, data: Path) -> None:
    """Put into its place what `commit` made count; nothing where that is done.

    It may be killed at any point, and called again.

    Args:
        folder: The server's folder.
        data: Prosody's data.

    Raises:
        StoreError: It cannot be; what is missing is done by the next call.
    """
    pending = folder / _PENDING
    if not pending.is_dir():
        return
    with locks.hold(folder / _LOCK), private.os_errors(folder):
        if not pending.is_dir():  # somebody else was at it
            return
        if (pending / _DATA).is_dir():
            if data.is_dir():
                data.rename(pending / _OLD_DATA)
            (pending / _DATA).rename(data)
            _sync(data.parent)
        files = sorted(path for path in pending.iterdir() if path.is_file())
        for path in sorted(files, key=lambda each: each.name == _LAST):
            path.replace(folder / path.name)
        _sync(folder)
        # Gone by its name first: half of what is removed is not half of a server.
        shutil.rmtree(folder / _DRAFT, ignore_errors=True)
        pending.rename(folder / _DRAFT)
        discard(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
