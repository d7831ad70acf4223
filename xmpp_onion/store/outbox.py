"""What is accepted and not yet acknowledged: stanzas, and durable jobs.

A stanza is stored encrypted, in the transaction that moved the ratchet, and sent
as often as it takes until the server acknowledged it: always the same bytes.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import CHECKED, checksum, compare, reading
from xmpp_onion.store.statements import Inserted
from xmpp_onion.store.timers import read_time, write_time

# What the checksum of a row is made of, in this order.
_COLUMNS = CHECKED["outbox"]
_ADD = (
    f"INSERT INTO outbox ({', '.join(_COLUMNS)}, expires_at, checksum) "  # noqa: S608 - a constant
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A stanza that the server has not acknowledged.

    Attributes:
        id: Its place in the order.
        stanza_xml: The bytes for the wire, as text.
        to: The recipient's address.
        message_id: The stanza's ``id`` attribute.
        added_at: When it was accepted, in UTC.
        readers: For a room: which devices of whom it has keys for, by bare JID. Empty
            between two people.
        expires_at: When it is of no use any more, in UTC; None for never.
    """

    id: int
    stanza_xml: str = field(repr=False)
    to: str = field(repr=False)
    message_id: str
    added_at: datetime
    readers: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """Something to do on the network that must not be forgotten.

    Attributes:
        id: Its place in the order; names this demand of the job, see
            :meth:`Outbox.add_job`.
        kind: What to do.
        payload: With what.
    """

    id: int
    kind: str
    payload: str = field(repr=False)


class Outbox:
    """Stanzas in the order they were accepted, and jobs. Ids are never used twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        stanza_xml: str,
        *,
        to: str,
        message_id: str,
        readers: Mapping[str, Iterable[int]] | None = None,
        expires_at: datetime | None = None,
    ) -> int:
        """Keep a stanza until :meth:`remove`, and return its row id.

        To be told the id takes a call into SQLite's thread: see :meth:`put`.

        Args:
            stanza_xml: The bytes for the wire, as text.
            to: The recipient's address.
            message_id: The stanza's ``id`` attribute.
            readers: As :attr:`OutboxRow.readers`.
            expires_at: As :attr:`OutboxRow.expires_at`.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        parts = stanza_xml, to, message_id, readers or {}
        return await self._database.insert(_ADD, _write(parts, expires_at))

    async def put(
        self,
        stanza_xml: str,
        *,
        to: str,
        message_id: str,
        expires_at: datetime | None = None,
    ) -> Inserted:
        """Keep a stanza for a person; its id is known after the transaction."""
        nobody: dict[str, tuple[int, ...]] = {}
        parts = stanza_xml, to, message_id, nobody
        return await self._database.insert_later(_ADD, _write(parts, expires_at))

    async def recipients(self) -> frozenset[str]:
        """Return whom something waits for: also who has keys in stanzas to rooms."""
        rows = await self._database.fetch(
            "SELECT DISTINCT recipient, readers FROM outbox"
        )
        found = {row["recipient"] for row in rows}
        return frozenset(found.union(*(_read_readers(row["readers"]) for row in rows)))

    async def load(self, row_id: int) -> OutboxRow | None:
        """Return a row as it is now; None if nothing of it waits any more."""
        rows = await self.pending(after=row_id - 1, limit=1)
        return next((row for row in rows if row.id == row_id), None)

    async def others(self, row: OutboxRow) -> list[OutboxRow]:
        """Return what else of the same message still waits, oldest first.

        What goes out as several stanzas is accepted at once: they stand in a row.
        """
        found = []
        for beyond in ("id < ? ORDER BY id DESC", "id > ? ORDER BY id"):
            last = row.id
            while (last := await self._next(last, beyond, row)) > 0:
                found.append(last)
        rows = [await self.load(row_id) for row_id in sorted(found)]
        return [each for each in rows if each is not None]

    async def has_others(self, row: OutboxRow) -> bool:
        """Tell whether something else of the same message still waits."""
        rows = await self._database.fetch(
            "SELECT 1 FROM outbox WHERE message_id = ? AND recipient = ? AND id IN ("
            "(SELECT max(id) FROM outbox WHERE id < ?), "
            "(SELECT min(id) FROM outbox WHERE id > ?))",
            (row.message_id, row.to, row.id, row.id),
        )
        return bool(rows)

    async def _next(self, row_id: int, beyond: str, like: OutboxRow) -> int:
        """Return the next row's id if it is of the same message, else 0."""
        rows = await self._database.fetch(
            f"SELECT id, message_id, recipient FROM outbox WHERE {beyond} LIMIT 1",  # noqa: S608 - two constants
            (row_id,),
        )
        for row in rows:
            if (row["message_id"], row["recipient"]) == (like.message_id, like.to):
                return int(row["id"])
        return 0

    async def pending(
        self, *, after: int = 0, limit: int = -1, is_patient: bool = False
    ) -> list[OutboxRow]:
        """Return what is not yet acknowledged, oldest first.

        Args:
            after: Only what was accepted after this row; 0 for all.
            limit: How many at most; all by default, which may be a lot of memory.
            is_patient: Wait some milliseconds for what is accepted just now.
        """
        rows = await self._database.fetch(
            "SELECT * FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
            is_patient=is_patient,
        )
        return [self._read(row) for row in rows]

    async def count(self) -> int:
        """Return how many stanzas are not yet acknowledged."""
        rows = await self._database.fetch("SELECT count(*) AS count FROM outbox")
        return int(rows[0]["count"])

    async def next_expiry(self) -> datetime | None:
        """Return when the next stanza is of no use any more; None if none is."""
        rows = await self._database.fetch(
            "SELECT min(expires_at) AS first FROM outbox WHERE expires_at != ''"
        )
        return read_time(rows[0]["first"] or "")

    async def expired(self, now: datetime) -> list[OutboxRow]:
        """Return what is of no use any more, oldest first."""
        rows = await self._database.fetch(
            "SELECT * FROM outbox WHERE expires_at != '' AND expires_at <= ? "
            "ORDER BY id",
            (write_time(now),),
        )
        return [self._read(row) for row in rows]

    def _read(self, row: sqlite3.Row) -> OutboxRow:
        path = self._database.path
        compare(path, "outbox", row["checksum"], *(row[part] for part in _COLUMNS))
        with reading(path, "outbox"):
            return OutboxRow(
                id=row["id"],
                stanza_xml=row["stanza_xml"],
                to=row["recipient"],
                message_id=row["message_id"],
                added_at=datetime.fromisoformat(row["added_at"]),
                readers=_read_readers(row["readers"]),
                expires_at=read_time(row["expires_at"]),
            )

    async def revise(
        self,
        row_id: int,
        stanza_xml: str,
        readers: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        """Keep other bytes for a stanza, such as with a device less.

        Args:
            row_id: Which.
            stanza_xml: The bytes for the wire, as text.
            readers: Who can read it now; None leaves what is noted.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        found = await self._database.fetch(
            "SELECT * FROM outbox WHERE id = ?", (row_id,)
        )
        for row in found:
            self._read(row)  # a checksum is not made of what is damaged
            written = row["readers"] if readers is None else _write_readers(readers)
            better = {"stanza_xml": stanza_xml, "readers": written}
            parts = [better.get(part, row[part]) for part in _COLUMNS]
            await self._database.execute(
                "UPDATE outbox SET stanza_xml = ?, readers = ?, checksum = ? "
                "WHERE id = ?",
                (stanza_xml, written, checksum(*parts), row_id),
            )

    async def remove(self, row_id: int) -> None:
        """Forget an acknowledged stanza; one that is gone already is no error.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute("DELETE FROM outbox WHERE id = ?", (row_id,))

    async def add_job(self, kind: str, payload: str) -> int:
        """Keep a job until :meth:`remove_job`, and return its row id.

        There is one of each kind and payload. To ask again gives it a new id, so
        that removing the one that was running meanwhile does not forget this one.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        return await self._database.insert(
            "INSERT OR REPLACE INTO jobs (kind, payload) VALUES (?, ?)",
            (kind, payload),
        )

    async def jobs(self) -> list[JobRow]:
        """Return the jobs that are not yet done, oldest first."""
        rows = await self._database.fetch("SELECT * FROM jobs ORDER BY id")
        return [JobRow(row["id"], row["kind"], row["payload"]) for row in rows]

    async def remove_job(self, row_id: int) -> None:
        """Forget a job that is done; one that is gone already is no error.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute("DELETE FROM jobs WHERE id = ?", (row_id,))


def _write(
    parts: tuple[str, str, str, Mapping[str, Iterable[int]]],
    expires_at: datetime | None,
) -> tuple[str | int, ...]:
    """Return what ``_ADD`` takes."""
    *texts, readers = parts
    now = datetime.now(UTC).isoformat()
    written = (*texts, now, _write_readers(readers))
    return (*written, write_time(expires_at), checksum(*written))


def _write_readers(readers: Mapping[str, Iterable[int]]) -> str:
    if not readers:
        return ""
    return json.dumps({str(jid): sorted(ids) for jid, ids in readers.items()})


def _read_readers(text: str) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = json.loads(text) if text else {}
    return {jid: tuple(ids) for jid, ids in found.items()}
