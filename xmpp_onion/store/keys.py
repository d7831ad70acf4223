"""The OMEMO rows: JSON text by key, behind a cache of the whole table.

The OMEMO libraries write each session in many small pieces, most of them
unchanged: 12 stores for each device and message, of which 1 is new. So writes
are kept until the commit, and only what differs goes to the disk.
"""

from collections.abc import Collection

from xmpp_onion.store.database import Database
from xmpp_onion.store.group import Moment
from xmpp_onion.store.rows import checksum, compare


class Keys:
    """Text by key. Reads come from memory after the first one.

    Inside a transaction a read sees what it stored; outside, only what a transaction
    that has ended did. A roll-back drops the cache.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[str, str] | None = None  # the table, once read
        self._changed: dict[str, str | None] = {}  # this transaction's; None: deleted
        self._unchecked: list[str] = []  # rows without a checksum
        database.before_commit(self._write)
        database.at(Moment.ENDED, self._settle)
        database.on_rollback(self._drop)

    @property
    def changing(self) -> Collection[str]:
        """The keys that the open transaction has changed."""
        return self._changed.keys()

    async def load(self, key: str) -> str | None:
        """Return the text stored under a key, or None."""
        if self._database.in_transaction and key in self._changed:
            return self._changed[key]
        return (await self._table()).get(key)

    async def names(self, prefix: str) -> list[str]:
        """Return the keys that begin with ``prefix``. Looks at every one there is."""
        there = set(await self._table())
        if self._database.in_transaction:
            for key, text in self._changed.items():
                there.add(key) if text is not None else there.discard(key)
        return sorted(key for key in there if key.startswith(prefix))

    async def store(self, key: str, text: str) -> None:
        """Store a text under a key, in place of the one before.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._change(key, text)

    async def delete(self, key: str) -> None:
        """Forget a key; one that is not there is no error.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._change(key, None)

    async def _change(self, key: str, text: str | None) -> None:
        self._database.require_transaction()
        if (await self._table()).get(key) == text:
            self._changed.pop(key, None)
        else:
            self._changed[key] = text

    async def _table(self) -> dict[str, str]:
        if self._kept is None:
            rows = await self._database.fetch("SELECT key, text, checksum FROM keys")
            for row in rows:
                key, text, kept = row
                compare(self._database.path, "keys", kept, key, text)
            self._kept = {row["key"]: row["text"] for row in rows}
            self._unchecked = [row["key"] for row in rows if row["checksum"] is None]
        return self._kept

    async def _write(self) -> None:
        if self._changed and self._kept is not None:
            # Those of before there were checksums get theirs with the first change.
            for key in self._unchecked:
                self._changed.setdefault(key, self._kept[key])
            self._unchecked = []
        stored = [
            (key, text, checksum(key, text))
            for key, text in self._changed.items()
            if text is not None
        ]
        deleted = [(k,) for k, t in self._changed.items() if t is None]
        if stored:
            await self._database.execute_many(
                "INSERT INTO keys (key, text, checksum) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE "
                "SET text = excluded.text, checksum = excluded.checksum",
                stored,
            )
        if deleted:
            await self._database.execute_many("DELETE FROM keys WHERE key = ?", deleted)

    def _settle(self) -> None:
        for key, text in self._changed.items():
            if self._kept is None:
                break
            if text is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = text
        self._changed.clear()

    def _drop(self) -> None:
        self._kept = None
        self._changed.clear()
