"""What is decrypted and not yet handled, and which stanzas were seen.

A ratchet decrypts a message once. So the event is stored in the transaction that
decrypted it, and its stanza is known before it is decrypted a second time.
"""

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import checksum, compare, reading
from xmpp_onion.store.timers import read_time, write_time

# A stanza can come twice through a resumed stream, offline storage or the archive.
# At a thousand messages a day this reaches back three months, in about 10 MB.
SEEN_LIMIT = 100_000


_ADD = (
    "INSERT INTO inbox (event_json, added_at, expires_at, checksum) VALUES (?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class InboxRow:
    """An event that no handler has finished.

    Attributes:
        id: Its place in the order.
        event_json: The decrypted event.
        added_at: When it was stored, in UTC.
        expires_at: When it is erased, handled or not, in UTC; None for never.
        is_begun: Whether it was marked as begun.
    """

    id: int
    event_json: str = field(repr=False)
    added_at: datetime
    expires_at: datetime | None = None
    is_begun: bool = False


class Inbox:
    """Events in the order they were decrypted, and the ids of seen stanzas.

    Args:
        database: Where they are kept.
        seen_limit: How many ids are kept; the oldest are forgotten.
    """

    def __init__(self, database: Database, *, seen_limit: int = SEEN_LIMIT) -> None:
        self._database = database
        self._seen_limit = seen_limit

    async def is_seen(self, key: str) -> bool:
        """Return whether a stanza was marked before.

        By a transaction that has ended, if it is not on the disk yet.
        """
        rows = await self._database.peek("SELECT 1 FROM seen WHERE key = ?", (key,))
        return bool(rows)

    async def mark_seen(self, key: str) -> None:
        """Remember a stanza, such as by its archive's address and its stanza-id.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT OR REPLACE INTO seen (key) VALUES (?)", (key,)
        )
        await self._database.execute(
            "DELETE FROM seen WHERE id <= (SELECT max(id) FROM seen) - ?",
            (self._seen_limit,),
        )

    async def add(self, event_json: str, *, expires_at: datetime | None = None) -> int:
        """Keep an event until :meth:`mark_handled`, and return its row id.

        To be told the id takes a call into SQLite's thread: see :meth:`put`.

        Args:
            event_json: The event.
            expires_at: When :meth:`erase` takes it away, in UTC; None for never.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        return await self._database.insert(_ADD, _write(event_json, expires_at))

    async def put(self, event_json: str, *, expires_at: datetime | None = None) -> None:
        """Keep an event as :meth:`add` does, where nobody asks for its row id."""
        await self._database.execute(_ADD, _write(event_json, expires_at))

    async def next_expiry(self) -> datetime | None:
        """Return when the next event is to be erased; None if none is."""
        rows = await self._database.fetch(
            "SELECT min(expires_at) AS first FROM inbox WHERE expires_at != ''"
        )
        return read_time(rows[0]["first"] or "")

    async def erase(self, now: datetime) -> None:
        """Forget the events that have had their time, and wipe their text.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "DELETE FROM inbox WHERE expires_at != '' AND expires_at <= ?",
            (write_time(now),),
        )

    async def pending(
        self, *, limit: int = -1, after: int = 0, now: datetime | None = None
    ) -> list[InboxRow]:
        """Return the events that no handler has finished, oldest first.

        Args:
            limit: How many at most; all by default, which may be a lot of memory.
            after: Without those up to this row.
            now: Without those that have had their time by then.
        """
        rows = await self._database.fetch(
            "SELECT * FROM inbox WHERE id > ? AND (expires_at = '' OR expires_at > ?) "
            "ORDER BY id LIMIT ?",
            (after, write_time(now), limit),
        )
        return [self._read(row) for row in rows]

    def _read(self, row: sqlite3.Row) -> InboxRow:
        path, parts = self._database.path, (row["event_json"], row["added_at"])
        compare(path, "inbox", row["checksum"], *parts)
        with reading(path, "inbox"):
            return InboxRow(
                id=row["id"],
                event_json=parts[0],
                added_at=datetime.fromisoformat(parts[1]),
                expires_at=read_time(row["expires_at"]),
                is_begun=bool(row["begun"]),
            )

    async def mark_begun(self, row_id: int) -> None:
        """Note that somebody is about to act on an event.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "UPDATE inbox SET begun = 1 WHERE id = ?", (row_id,)
        )

    async def mark_handled(self, row_id: int) -> None:
        """Forget a handled event and wipe its text; twice is no error.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute("DELETE FROM inbox WHERE id = ?", (row_id,))


def _write(event_json: str, expires_at: datetime | None) -> tuple[str, str, str, int]:
    parts = event_json, datetime.now(UTC).isoformat()
    return (*parts, write_time(expires_at), checksum(*parts))
