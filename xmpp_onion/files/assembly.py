"""Fetching a file that lies in chunks: several circuits, one draft, one last look.

Each chunk is authentic and in its place before it is written. The draft remembers
which ones it has, in a byte for each behind the file's own end, so that another
process goes on; and what a crash of the machine made of it shows in the last look at
the hash of all of it.
"""

import asyncio
import hashlib
import io
import os
from collections.abc import Callable
from typing import BinaryIO, Final

from xmpp_onion.chat import Progress
from xmpp_onion.errors import FileDamagedError
from xmpp_onion.files.cipher import CHUNK_OVERHEAD
from xmpp_onion.files.convoy import NewLane, Tally, over_lanes
from xmpp_onion.files.index import Index
from xmpp_onion.files.lane import Lane

__all__ = ["assemble"]

_DONE: Final = b"\x01"
_PIECE_BYTES: Final = 1024 * 1024


async def assemble(
    lanes: NewLane, index: Index, draft: BinaryIO, progress: Progress | None
) -> None:
    """Fetch what is missing, check all of it, and cut the draft to the file.

    Raises:
        FileError: Something is gone, or is not what was sent.
        TorError: The server could not be reached for a long time; what came is kept.
    """
    done = _Done(index, draft)
    missing = [number for number in range(len(index.places)) if not done.has(number)]
    there = index.size - sum(index.size_of(number) for number in missing)
    tally = Tally(progress, index.size, there)
    cipher = index.cipher

    async def carry(lane: Lane, number: int) -> None:
        sealed = io.BytesIO()
        await lane.fetch(
            index.places[number],
            sealed,
            allow=_exactly(index.size_of(number) + CHUNK_OVERHEAD),
            told=lambda came, _total: tally.part(number, came),
        )
        done.keep(number, cipher.open(number, sealed.getvalue()))
        tally.finish(number, index.size_of(number))

    await over_lanes(lanes, missing, carry)
    if await _hash_of(draft, index.size) != index.sha256:
        raise FileDamagedError(
            "the file that came is not the one that was sent",
            why="it has another hash",
            fix="Nothing of it was kept. Fetch it again.",
        )
    draft.truncate(index.size)


class _Done:
    """Which chunks a draft has."""

    def __init__(self, index: Index, draft: BinaryIO) -> None:
        self._index = index
        self._file = draft.fileno()
        length = index.size + len(index.places)
        if os.fstat(self._file).st_size != length:  # new, or of something else
            os.ftruncate(self._file, 0)
            os.ftruncate(self._file, length)

    def has(self, number: int) -> bool:
        return os.pread(self._file, 1, self._index.size + number) == _DONE

    def keep(self, number: int, data: bytes) -> None:
        """Write a chunk; only then say that it is there."""
        view, at = memoryview(data), self._index.start_of(number)
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written
        os.pwrite(self._file, _DONE, self._index.size + number)


def _exactly(size: int) -> Callable[[int], None]:
    def allow(total: int) -> None:
        if total != size:
            raise FileDamagedError(
                "the server has another file than the one that was sent",
                why="a part of it has another size",
                fix="Ask its sender to send it again.",
            )

    return allow


async def _hash_of(draft: BinaryIO, size: int) -> bytes:
    digest = hashlib.sha256()
    draft.seek(0)
    left = size
    while left > 0 and (piece := draft.read(min(left, _PIECE_BYTES))):
        left -= len(piece)
        digest.update(piece)
        await asyncio.sleep(0)  # others live in this loop
    return digest.digest()
