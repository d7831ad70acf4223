"""Fetching a file that lies in chunks: several circuits, one draft, one last look.

Each chunk is decrypted to its place in the draft while it comes, and counts when it is
authentic. The draft remembers which ones do, in a byte for each behind the file's own
end, so that another process goes on; and what a crash of the machine made of it shows
in the last look at the hash of all of it.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, Final

from xmpp_onion.chat import Place, Progress
from xmpp_onion.errors import FileDamagedError
from xmpp_onion.files.cipher import CHUNK_OVERHEAD
from xmpp_onion.files.convoy import Claim, NewLane, Tally, over_lanes
from xmpp_onion.files.index import Index
from xmpp_onion.files.lane import Lane

__all__ = ["assemble"]

_DONE: Final = b"\x01"
_PIECE_BYTES: Final = 1024 * 1024


async def assemble(
    lanes: NewLane,
    index: Index,
    draft: BinaryIO,
    *,
    circuits: int,
    progress: Progress | None,
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

    async def carry(lane: Lane, number: int, claim: Claim) -> None:
        def following() -> Place | None:
            claimed = claim()
            return None if claimed is None else index.places[claimed]

        size = index.size_of(number)
        place = _Region(index, number, draft.fileno())
        await lane.fetch(
            index.places[number],
            place,
            allow=_exactly(index.held_by(number) + CHUNK_OVERHEAD),
            told=lambda came, _total: tally.part(number, min(came, size)),
            following=following,
        )
        place.finish()
        done.note(number)
        tally.finish(number, size)

    await over_lanes(lanes, missing, carry, count=circuits)
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

    def note(self, number: int) -> None:
        """Say that a chunk is there, authentic."""
        os.pwrite(self._file, _DONE, self._index.size + number)


class _Region:
    """Where a chunk lies in a draft: it is decrypted into it while it comes.

    So memory holds no chunk. Nobody reads the draft before it is noted as done. What
    pads a chunk is authenticated and dropped: behind the file's end lie the notes.
    """

    def __init__(self, index: Index, number: int, file: int) -> None:
        self._new = partial(index.cipher.opening, number, index.held_by(number))
        self._size = index.size_of(number)
        self._file, self._start = file, index.start_of(number)
        self._came = self._written = 0
        self._opening = self._new()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Return how much came; it only ever goes on from there."""
        return self._came if whence == os.SEEK_END else offset

    def truncate(self, size: int, /) -> int:
        """Begin anew."""
        self._came = self._written = 0
        self._opening = self._new()
        return size

    def write(self, data: bytes, /) -> int:
        """Take more of the chunk."""
        content = memoryview(self._opening.update(data))
        view = content[: self._size - self._written]
        while view:
            written = os.pwrite(self._file, view, self._start + self._written)
            self._written += written
            view = view[written:]
        self._came += len(data)
        return len(data)

    def finish(self) -> None:
        """Return if all of it came and is authentic."""
        self._opening.finish()


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
