"""How far an account's file has come, and whether it was further once.

Each transaction that changes the file counts its generation up. An old copy that is
put back has a lower one than what was noted elsewhere: by a `Witness` on this machine,
or by somebody else who was told.
"""

import logging
from pathlib import Path

from xmpp_onion.store.witness import Witness

__all__ = ["Progress"]

log = logging.getLogger(__name__)

# How far an old copy is put behind its note: further than it gets by counting
# before somebody accepts that it is old.
_OUT_OF_REACH = 1_000_000


class Progress:
    """The generation of an open file, and what is known of it from elsewhere.

    Args:
        path: The file, for what is logged.

    Attributes:
        store_id: 32 hex digits that name the file and say nothing of the account;
            a copy has the same. Empty without a witness.
        reached: The generation of what is on the disk.
    """

    def __init__(self, path: Path) -> None:
        self.store_id = ""
        self.reached = self._opened_at = 0
        self._path = path
        self._witness: Witness | None = None

    def begin(self, generation: int, witness: Witness, store_id: str) -> None:
        """Compare a file that was just opened with what its witness says.

        Args:
            generation: Of the file.
            witness: Notes how far it comes from now on.
            store_id: The file's.
        """
        self.reached = self._opened_at = generation
        self.store_id = store_id
        self._witness = witness
        if self.is_rolled_back:
            self._take_for_old(witness.value)

    @property
    def highest(self) -> int:
        """How far the file ever was, as far as anybody knows; 0 without a witness."""
        return self._witness.value if self._witness is not None else 0

    @property
    def is_rolled_back(self) -> bool:
        """Whether this file was further once: an old copy took its place.

        It stays so, after a restart too, until `Database.accept_rollback`.
        """
        return self.reached < self.highest

    def heed(self, generation: int) -> None:
        """Take notice of how far the file was when somebody else was told.

        What counts is where it was when it was opened: an old copy may have got
        past that by counting. A copy that is older than that says so from now on.

        Args:
            generation: What `Database.generation` was before the file was opened;
                authentic.
        """
        if generation > self._opened_at:
            self._take_for_old(generation)

    def note(self, generation: int) -> None:
        """Note what is on the disk now; nothing of it is on the wire yet."""
        self.reached = max(self.reached, generation)
        if self._witness is not None:
            self._witness.note(generation)

    def _take_for_old(self, generation: int) -> None:
        """Note a generation that the file does not reach before it is accepted."""
        if self._witness is not None:
            self._witness.note(max(generation, self.reached) + _OUT_OF_REACH)
            log.warning(
                "%s is an old copy of what was here; encryption is begun anew",
                self._path,
            )
