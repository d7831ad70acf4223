"""How far each archive has been taken in.

A cursor moves in the transaction that keeps the message it stands on. So it never
passes a message that is not on the disk, and a process that is killed goes on
where it was.
"""

from dataclasses import dataclass
from datetime import datetime

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import reading


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last message of an archive that was taken in.

    Attributes:
        last_id: The archive's id of it; empty if the archive was empty then.
        at: When the archive got it, in UTC.
        archive: Whose archive: a room's JID; empty for our own account's.
    """

    last_id: str
    at: datetime
    archive: str = ""


class Cursors:
    """One cursor for each archive.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, archive: str) -> Cursor | None:
        """Return where we are in an archive; None if it was never looked into.

        Args:
            archive: Its JID: our own bare one, or a room's.
        """
        rows = await self._database.fetch(
            "SELECT last_id, at FROM cursors WHERE archive = ?", (archive,)
        )
        if not rows:
            return None
        with reading(self._database.path, "cursors"):
            return Cursor(rows[0]["last_id"], datetime.fromisoformat(rows[0]["at"]))

    async def move(self, archive: str, cursor: Cursor) -> None:
        """Set where we are in an archive.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR REPLACE INTO cursors (archive, last_id, at) VALUES (?, ?, ?)",
            (archive, cursor.last_id, cursor.at.isoformat()),
        )
