"""What Prosody wrote into its log: the end of it, or what is new."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["LogReader", "read_tail"]

_TAIL_BYTES = 4096
_TAIL_LINES = 20
# A log that grows faster than this between two looks is read from its end.
_NEW_BYTES = 64 * 1024


def read_tail(path: Path) -> str:
    """Return the last lines of a file that somebody else writes; empty without one."""
    try:
        with _open(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


class LogReader:
    """Reads what is added to a log from now on.

    Args:
        path: The log; it may be missing, and be put aside and begun anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = (0, 0)  # which file, and how far it was read
        self.read_new()

    def read_new(self) -> list[str]:
        """Return the whole lines that were added; the last ones if they are many."""
        try:
            with _open(self._path) as file:
                return self._read(file)
        except OSError:
            return []

    def _read(self, file: BinaryIO) -> list[str]:
        status = os.fstat(file.fileno())
        number, begin = self._place
        if status.st_ino != number or status.st_size < begin:
            begin = 0
        begin = max(begin, status.st_size - _NEW_BYTES)
        file.seek(begin)
        whole, newline, _ = file.read(_NEW_BYTES).rpartition(b"\n")
        self._place = (status.st_ino, begin + len(whole) + len(newline))
        return whole.decode("utf-8", "replace").splitlines()


def _open(path: Path) -> BinaryIO:
    # Through no link and waiting for no pipe: root reads where another user writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError("not a regular file")
    return file
