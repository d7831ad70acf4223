"""Whom we owe word that a message of theirs arrived."""

from dataclasses import dataclass

from xmpp_onion.store.database import Database

# Confirmations help, and nothing depends on them: of one contact so many may wait.
OWED_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class OwedRow:
    """A confirmation that is not said yet.

    Attributes:
        to: The bare JID of the author.
        message_id: The author's name for the message.
    """

    to: str
    message_id: str


class Owed:
    """Confirmations in the order in which the messages came; each once.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: OwedRow) -> None:
        """Owe a confirmation; what is beyond the limit is not.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR IGNORE INTO owed (recipient, message_id) SELECT ?, ? "
            "WHERE (SELECT count(*) FROM owed WHERE recipient = ?) < ?",
            (row.to, row.message_id, row.to, OWED_LIMIT),
        )

    async def first(self) -> OwedRow | None:
        """Return the oldest; None if nothing is owed."""
        rows = await self._database.fetch("SELECT * FROM owed ORDER BY id LIMIT 1")
        return OwedRow(rows[0]["recipient"], rows[0]["message_id"]) if rows else None

    async def remove(self, to: str, message_id: str) -> None:
        """Owe it no longer; one that is gone already is no error.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "DELETE FROM owed WHERE recipient = ? AND message_id = ?", (to, message_id)
        )
