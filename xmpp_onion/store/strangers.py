"""What waits of strangers, and how much of theirs was not read.

Counted where the rows come and go (triggers), so that a question costs one look.
"""

from dataclasses import dataclass

from xmpp_onion.store.database import Database

# Accounts that are counted by name; all others are one.
_NAMED = 200
_OTHERS = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Messages that nobody was told about one by one.

    Attributes:
        kind: Why, by a word of the caller's.
        jid: Whose; empty for all who are not counted by name.
        count: How many.
    """

    kind: str
    jid: str
    count: int


class Strangers:
    """Rows of the inbox that strangers caused, and counters of what was not read.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def weight(self, jid: str = _OTHERS) -> int:
        """Return what waits of one stranger, or of all."""
        rows = await self._database.fetch(
            "SELECT weight FROM waiting WHERE jid = ?", (jid,)
        )
        return int(rows[0]["weight"]) if rows else 0

    async def weights(self, jid: str) -> tuple[int, int]:
        """Return what waits of one stranger, and of all, in one look."""
        rows = await self._database.fetch(
            "SELECT jid, weight FROM waiting WHERE jid IN (?, ?)", (jid, _OTHERS)
        )
        found = {row["jid"]: int(row["weight"]) for row in rows}
        return found.get(jid, 0), found.get(_OTHERS, 0)

    async def mark(self, jid: str, weight: int) -> None:
        """Note that the row that was put into the inbox just now is a stranger's.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        # The row need not be there yet: both go to SQLite together.
        await self._database.execute(
            "UPDATE inbox SET stranger = ?, weight = ? WHERE id = last_insert_rowid()",
            (jid, weight),
        )

    async def count(self, kind: str, jid: str, number: int = 1) -> None:
        """Count messages that nobody is told about one by one.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        rows = await self._database.fetch(
            "SELECT COUNT(*) AS named, COALESCE(SUM(jid = ?), 0) AS is_there "
            "FROM tallies WHERE kind = ?",
            (jid, kind),
        )
        if not rows[0]["is_there"] and rows[0]["named"] >= _NAMED:
            jid = _OTHERS
        await self._database.execute(
            "INSERT INTO tallies (kind, jid, count) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, jid) DO UPDATE SET count = count + excluded.count",
            (kind, jid, number),
        )

    async def take_tallies(self, *kinds: str) -> list[Tally]:
        """Return what was counted, and start over.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._database.require_transaction()
        found = []
        for kind in kinds:
            rows = await self._database.fetch(
                "SELECT * FROM tallies WHERE kind = ? ORDER BY jid", (kind,)
            )
            found += [Tally(kind, row["jid"], row["count"]) for row in rows]
            if rows:
                await self._database.execute(
                    "DELETE FROM tallies WHERE kind = ?", (kind,)
                )
        return found
