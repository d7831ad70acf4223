"""Messages that wait for keys which a silent server does not give.

They wait here, on the disk, so that those of others need not wait for them.
"""

import sqlite3
from dataclasses import dataclass, field
from datetime import datetime

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import CHECKED, checksum, compare, reading

# What the checksum of a row is made of, in this order.
_COLUMNS = CHECKED["set_aside"]
_PARTS = ", ".join(_COLUMNS)

# Of one stranger, and of all of them: what they may send while their keys are asked
# for. A message has 128 KiB at most, as we send it, so that is 256 MB; hardly one has
# more than 4. They take no room from contacts.
STRANGER_LIMIT = 512
STRANGERS_LIMIT = 2048
# Of one contact: more than anybody writes in the days until it is given up.
CONTACT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A message that cannot be read yet.

    Attributes:
        key: Names it for "seen already?".
        sender: The bare JID that it is from.
        stanza_xml: The stanza, as text.
        stanza_id: Our archive's name for it; empty if it has none.
        at: When it was sent.
        since: When it was set aside.
        is_stranger: Its sender was no contact then.
        id: Its place in the order, when it has one.
    """

    key: str
    sender: str
    stanza_xml: str = field(repr=False)
    stanza_id: str
    at: datetime
    since: datetime
    is_stranger: bool
    id: int = field(default=0, compare=False)


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
        if not await self._has_room(row):
            return False
        self._senders = None
        parts = (
            row.key,
            row.sender,
            row.stanza_xml,
            row.stanza_id,
            row.at.isoformat(),
            row.since.isoformat(),
        )
        await self._database.execute(
            f"INSERT OR IGNORE INTO set_aside ({_PARTS}, stranger, checksum) "  # noqa: S608 - a constant
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*parts, int(row.is_stranger), checksum(*parts)),
        )
        return True

    async def _has_room(self, row: WaitingRow) -> bool:
        own = await self._count("sender = ?", row.sender)
        if not row.is_stranger:
            return own < CONTACT_LIMIT
        return (
            own < STRANGER_LIMIT
            and await self._count("stranger = ?", 1) < STRANGERS_LIMIT
        )

    async def _count(self, condition: str, value: str | int) -> int:
        rows = await self._database.fetch(
            f"SELECT count(*) AS number FROM set_aside WHERE {condition}",  # noqa: S608 - two constants
            (value,),
        )
        return int(rows[0]["number"])

    async def holds(self, sender: str, text: str) -> bool:
        """Tell whether a message of a sender with this text in its stanza waits."""
        rows = await self._database.fetch(
            "SELECT 1 FROM set_aside WHERE sender = ? AND instr(stanza_xml, ?) LIMIT 1",
            (sender, text),
        )
        return bool(rows)

    async def first(self, sender: str, *, after: int = 0) -> WaitingRow | None:
        """Return the oldest message of a sender; None if nothing waits.

        Args:
            sender: A bare JID.
            after: Only of what came after this row; 0 for all.
        """
        rows = await self._database.fetch(
            "SELECT * FROM set_aside WHERE sender = ? AND id > ? ORDER BY id LIMIT 1",
            (sender, after),
        )
        return self._read(rows[0]) if rows else None

    def _read(self, row: sqlite3.Row) -> WaitingRow:
        path = self._database.path
        compare(path, "set_aside", row["checksum"], *(row[part] for part in _COLUMNS))
        with reading(path, "set_aside"):
            return WaitingRow(
                key=row["key"],
                sender=row["sender"],
                stanza_xml=row["stanza_xml"],
                stanza_id=row["stanza_id"],
                at=datetime.fromisoformat(row["at"]),
                since=datetime.fromisoformat(row["since"] or row["at"]),
                is_stranger=bool(row["stranger"]),
                id=row["id"],
            )

    async def remove(self, key: str) -> None:
        """Let a message wait no longer; one that is gone already is no error.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._senders = None
        await self._database.execute("DELETE FROM set_aside WHERE key = ?", (key,))
