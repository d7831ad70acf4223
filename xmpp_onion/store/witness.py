"""How far an account's file has come, noted outside of it.

An old copy that is put back would use the keys of messages again. It cannot know
that it is old; the number beside it does: it moves with each transaction, after
the commit and before anything of it goes on the wire.

It is never ahead of the disk, so it is not synced: the commit was, before the
number is written, and what a power loss takes away only makes the number lower.
Lower means that something may go unnoticed, higher would be a false alarm.
"""

import contextlib
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from xmpp_onion import private

__all__ = ["Witness"]

log = logging.getLogger(__name__)

_DIGITS = 19  # holds every integer of SQLite
_SIZE_BYTES = 64


class Witness:
    """The highest generation of one store that anybody has told us.

    Use :meth:`open`.

    Attributes:
        value: That generation; 0 if nobody knows the store.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._noted = _parse(os.pread(descriptor, _SIZE_BYTES, 0))
        self._is_broken = False
        self.value = self._noted

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, store_id: str) -> Iterator[Self]:
        """Open the note about a store, made if it is missing.

        Args:
            folder: Where notes are kept; made (0700) if it is missing. Outside of
                the account's folder, so that a copy of that is told from it.
            store_id: Of the store: 32 hex digits that say nothing of the account.

        Raises:
            StorePermissionError: It is not ours alone, or cannot be made or written.
        """
        folder = folder.absolute()
        private.make_folder(folder)
        path = folder / f"{store_id}.generation"
        descriptor = private.open_file(path)
        try:
            yield cls(path, descriptor)
        finally:
            os.close(descriptor)

    def note(self, generation: int) -> None:
        """Write how far the store is, or was; a lower one changes nothing.

        A note that cannot be written is no reason to stop: the one that is there is
        lower, and notices less.
        """
        if generation <= self._noted:
            return
        self.value = max(self.value, generation)
        try:
            os.pwrite(self._descriptor, _line(generation), 0)
        except OSError as error:
            if not self._is_broken:
                log.warning("%s is not kept up to date: %s", self._path, error.strerror)
            self._is_broken = True
        else:
            self._noted = generation


def _line(generation: int) -> bytes:
    digits = b"%0*d" % (_DIGITS, generation)
    return b"%s %08x\n" % (digits, zlib.crc32(digits))


def _parse(line: bytes) -> int:
    """Return what a note says; 0 for one that was not written to its end."""
    digits = line[:_DIGITS]
    is_whole = digits.isdigit() and line == _line(int(digits))
    return int(digits) if is_whole else 0
