"""What a bot wants to know after a restart: JSON values by names of its own."""

from xmpp_onion.store.database import Database

__all__ = ["Notes"]


class Notes:
    """Texts by their keys.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, key: str) -> str | None:
        """Return the text of a key; None if there is none."""
        rows = await self._database.fetch(
            "SELECT text FROM notes WHERE key = ?", (key,)
        )
        return None if not rows else str(rows[0]["text"])

    async def store(self, key: str, text: str | None) -> None:
        """Set the text of a key, on the disk when it returns; None takes it away.

        Raises:
            RuntimeError: Inside a transaction.
        """
        async with self._database.transaction():
            if text is None:
                await self._database.execute("DELETE FROM notes WHERE key = ?", (key,))
            else:
                await self._database.execute(
                    "INSERT OR REPLACE INTO notes (key, text) VALUES (?, ?)",
                    (key, text),
                )

    async def keys(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with ``prefix``, in their order."""
        rows = await self._database.fetch(
            "SELECT key FROM notes WHERE substr(key, 1, ?) = ? ORDER BY key",
            (len(prefix), prefix),
        )
        return [str(row["key"]) for row in rows]
