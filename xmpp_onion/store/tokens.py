"""Who may ask the holder of the account for a little, and for what."""

import json
from dataclasses import dataclass

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import reading

__all__ = ["TokenRow", "Tokens"]


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token, without the token itself.

    Attributes:
        name: What the user calls it.
        digest: SHA-256 of it, 64 hex digits.
        may: What it is good for.
        recipients: To whom.
        added_at: When it was made: ISO 8601, UTC.
    """

    name: str
    digest: str
    may: str
    recipients: tuple[str, ...]
    added_at: str


class Tokens:
    """The tokens of an account.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[TokenRow]:
        """Return all of them, by name."""
        rows = await self._database.fetch("SELECT * FROM tokens ORDER BY name")
        with reading(self._database.path, "tokens"):
            return [
                TokenRow(
                    name=row["name"],
                    digest=row["digest"],
                    may=row["may"],
                    recipients=tuple(json.loads(row["recipients"])),
                    added_at=row["added_at"],
                )
                for row in rows
            ]

    async def add(self, row: TokenRow) -> None:
        """Keep one, in place of another of its name; on the disk when it returns.

        Raises:
            RuntimeError: Inside a transaction.
        """
        async with self._database.transaction():
            await self._database.execute(
                "INSERT OR REPLACE INTO tokens "
                "(name, digest, may, recipients, added_at) VALUES (?, ?, ?, ?, ?)",
                (
                    row.name,
                    row.digest,
                    row.may,
                    json.dumps(row.recipients),
                    row.added_at,
                ),
            )

    async def remove(self, name: str) -> None:
        """Forget one; one that is gone already is no error.

        Raises:
            RuntimeError: Inside a transaction.
        """
        async with self._database.transaction():
            await self._database.execute("DELETE FROM tokens WHERE name = ?", (name,))
