"""Who asked to be a contact and waits for a person's answer: a box with a bottom.

The oldest stay. The server repeats every request that is not answered with each
login, so one for which there was no room comes again when there is some; a flood
that pushed out older ones could hide them for good.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import reading

REQUEST_LIMIT = 200
"""More than a person would look through; what is beyond is only counted."""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request.

    Attributes:
        jid: Who asks; a bare JID.
        at: When we heard of it, in UTC.
    """

    jid: str
    at: datetime


class Requests:
    """The requests that wait, oldest first.

    Args:
        database: Where they are kept.
        limit: How many.
    """

    def __init__(self, database: Database, *, limit: int = REQUEST_LIMIT) -> None:
        self._database = database
        self.limit = limit

    async def all(self) -> list[RequestRow]:
        """Return what waits."""
        rows = await self._database.fetch("SELECT jid, at FROM requests ORDER BY id")
        with reading(self._database.path, "requests"):
            return [
                RequestRow(row["jid"], datetime.fromisoformat(row["at"]))
                for row in rows
            ]

    async def untold(self) -> int:
        """Return how many of them nobody was told about."""
        rows = await self._database.fetch(
            "SELECT COUNT(*) AS number FROM requests WHERE told = 0"
        )
        return int(rows[0]["number"])

    async def add(self, jid: str, *, told: bool) -> None:
        """Keep a request; one that is there already stays as it is.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR IGNORE INTO requests (jid, at, told) VALUES (?, ?, ?)",
            (jid, datetime.now(UTC).isoformat(), int(told)),
        )

    async def mark_told(self) -> None:
        """Note that somebody was told about all of them.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute("UPDATE requests SET told = 1 WHERE told = 0")

    async def remove(self, jid: str) -> None:
        """Take out the request of an account, or those of a whole server.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "DELETE FROM requests "
            "WHERE jid = ? OR substr(jid, instr(jid, '@') + 1) = ?",
            (jid, jid),
        )

    async def left_out(self) -> int:
        """Return how many more asked than there was room for, since the last login."""
        rows = await self._database.fetch(
            "SELECT count FROM tallies WHERE kind = 'requests' AND jid = ''"
        )
        return int(rows[0]["count"]) if rows else 0

    async def set_left_out(self, count: int) -> None:
        """Set that number.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR REPLACE INTO tallies (kind, jid, count) "
            "VALUES ('requests', '', ?)",
            (count,),
        )
