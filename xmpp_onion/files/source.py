"""A file of ours on the disk, which has to stay as it is while it is sent."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from xmpp_onion.errors import FileChangedError, FileError

__all__ = ["Source"]

# Read, encrypted and sent at once: large enough for the cipher, small beside memory.
_PIECE_BYTES: Final = 256 * 1024


class Source:
    """What is sent: read in parts, and refused as soon as it is another.

    Args:
        path: Where it is. A link is followed: it is the caller's own.

    Attributes:
        path: The same.
        size: Its bytes.

    Raises:
        FileError: It is no file, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = _stamp(path)
        self.size = self._before[1]

    def read(self, start: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield ``size`` bytes from ``start`` on, or all that follow.

        Raises:
            FileChangedError: It has no such bytes any more, or is another file.
        """
        left = self.size - start if size is None else size
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if left > 0:
            raise self.changed()
        self.check()

    async def digest(self, chunk_size: int) -> tuple[bytes, list[bytes]]:
        """Return the SHA-256 of all of it, and of each chunk.

        Raises:
            FileChangedError: It changes meanwhile.
        """
        whole, chunks = hashlib.sha256(), []
        for start in range(0, self.size, chunk_size):
            chunk = hashlib.sha256()
            for piece in self.read(start, min(chunk_size, self.size - start)):
                whole.update(piece)
                chunk.update(piece)
                await asyncio.sleep(0)  # others live in this loop
            chunks.append(chunk.digest())
        return whole.digest(), chunks

    def check(self) -> None:
        """Refuse it if it was written or exchanged meanwhile.

        Raises:
            FileChangedError: It was.
        """
        if _stamp(self.path) != self._before:
            raise self.changed()

    def changed(self) -> FileChangedError:
        """Return the error that says so."""
        return FileChangedError(
            f"{self.path} was not sent",
            why="it changed meanwhile",
            fix="Send it again when nobody writes to it.",
        )


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not path.is_file():
        raise FileError(
            f"{path} cannot be sent",
            why="it is no file",
            fix="Pack a folder first: tar czf folder.tar.gz folder",
        )
    return status.st_ino, status.st_size, status.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> FileError:
    return FileError(
        f"{path} cannot be read",
        why=f"{error.strerror}",
        fix="See whether it is there, and yours to read.",
    )
