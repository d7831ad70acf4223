"""Messages that wait for keys which a silent server does not give.

They wait here, on the disk, so that those of others need not wait for them.
"""

from dataclasses import dataclass, field
from datetime import datetime

from xmpp_onion.store.database import Database

# A message has 128 KiB at most, as we send it: 16 MB from one sender, 128 MB in all.
SENDER_LIMIT = 128
LIMIT = 1024


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A message that cannot be read yet.

    Attributes:
        key: Names it for "seen already?".
        sender: The bare JID that it is from.
        stanza_xml: The stanza, as text.
        stanza_id: Our archive's name for it; empty if it has none.
        at: When it was sent.
    """

    key: str
    sender: str
    stanza_xml: str = field(repr=False)
    stanza_id: str
    at: datetime


class SetAside:
    """What waits, in the order in which it came.

    Args:
        database: Where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._senders: frozenset[str] | None = None
        database.on_rollback(self._forget)

    def _forget(self) -> None:
        self._senders = None

    async def senders(self) -> frozenset[str]:
        """Return whose messages wait."""
        if self._senders is None:
            rows = await self._database.fetch("SELECT DISTINCT sender FROM set_aside")
            self._senders = frozenset(row["sender"] for row in rows)
        return self._senders

    async def add(self, row: WaitingRow) -> bool:
        """Let a message wait; twice is once. False if there is no room for it.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        (count,) = await self._database.fetch(
            "SELECT count(*) AS whole, count(nullif(sender = ?, 0)) AS own "
            "FROM set_aside",
            (row.sender,),
        )
        if count["whole"] >= LIMIT or count["own"] >= SENDER_LIMIT:
            return False
        self._senders = None
        await self._database.execute(
            "INSERT OR IGNORE INTO set_aside (key, sender, stanza_xml, stanza_id, at) "
            "VALUES (?, ?, ?, ?, ?)",
            (row.key, row.sender, row.stanza_xml, row.stanza_id, row.at.isoformat()),
        )
        return True

    async def first(self, sender: str) -> WaitingRow | None:
        """Return the oldest message of a sender; None if nothing waits."""
        rows = await self._database.fetch(
            "SELECT * FROM set_aside WHERE sender = ? ORDER BY id LIMIT 1", (sender,)
        )
        if not rows:
            return None
        row = rows[0]
        return WaitingRow(
            key=row["key"],
            sender=row["sender"],
            stanza_xml=row["stanza_xml"],
            stanza_id=row["stanza_id"],
            at=datetime.fromisoformat(row["at"]),
        )

    async def remove(self, key: str) -> None:
        """Let a message wait no longer; one that is gone already is no error.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._senders = None
        await self._database.execute("DELETE FROM set_aside WHERE key = ?", (key,))
