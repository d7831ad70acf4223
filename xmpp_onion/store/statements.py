"""Statements that go to SQLite's thread together.

Each call into that thread wakes two threads and the loop, which takes longer than
most statements do. So what belongs together makes one call.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import aiosqlite

__all__ = [
    "BEGIN",
    "COMMIT",
    "RELEASE",
    "SAVEPOINT",
    "Connection",
    "Inserted",
    "Statement",
    "UndoneError",
    "Value",
]

Value = str | bytes | int | float | None


class UndoneError(Exception):
    """SQLite undid the transaction that a statement should have been part of."""


@dataclass(slots=True)
class Inserted:
    """A row that is inserted with what else is written; it has its id after that."""

    _id: int = 0

    @property
    def id(self) -> int:
        """The row's id.

        Raises:
            RuntimeError: The transaction has not ended, or was undone.
        """
        if not self._id:
            raise RuntimeError("the row is not on the disk")
        return self._id

    def take(self, row_id: int | None) -> None:
        """Note the id; SQLite's thread calls this."""
        self._id = row_id or 0


class Statement(NamedTuple):
    """A statement and what it is run with.

    Attributes:
        sql: The statement.
        rows: One set of parameters for each time that it is run.
        inserted: Who wants to know the id of the row that it inserts.
    """

    sql: str
    rows: Sequence[Sequence[Value]] = ((),)
    inserted: Inserted | None = None


BEGIN = Statement("BEGIN IMMEDIATE")
COMMIT = Statement("COMMIT")
SAVEPOINT = Statement("SAVEPOINT one")
RELEASE = Statement("RELEASE one")
_BACK = Statement("ROLLBACK TO one")


class Connection(aiosqlite.Connection):
    """A connection in a thread of its own that takes several statements at once.

    Attributes:
        has_commit_failed: Whether a commit was the last thing that was tried, and
            failed. Nothing that it would have kept may be committed after that:
            what a disk refused to sync it may seem to sync the next time.
    """

    has_commit_failed = False

    async def run(
        self, statements: Iterable[Statement], *, is_inside: bool
    ) -> list[sqlite3.Row]:
        """Run statements in order, in one go; the first that fails ends it.

        Args:
            statements: What to run.
            is_inside: Whether a transaction is open. SQLite undoes one by itself on
                some errors, and what follows would be kept without the rest of it.

        Returns:
            The rows of the last one that has any.

        Raises:
            UndoneError: No transaction is open, and one should be.
        """
        rows: list[sqlite3.Row] = await self._execute(  # type: ignore[no-untyped-call] # aiosqlite has no types for it
            self._run, [*statements], is_inside
        )
        return rows

    async def undo(self, *, to_savepoint: bool) -> bool:
        """Undo what is not committed, behind whatever still runs.

        Args:
            to_savepoint: Leave what was written before the last :data:`SAVEPOINT`.

        Returns:
            Whether that is still there: SQLite undoes all by itself on some errors,
            and after a commit that failed all is undone.
        """
        is_left: bool = await self._execute(  # type: ignore[no-untyped-call] # aiosqlite has no types for it
            self._undo, to_savepoint
        )
        return is_left

    def _undo(
        self,
        to_savepoint: bool,  # noqa: FBT001 - called by the thread, with what undo() got
    ) -> bool:
        has_failed, self.has_commit_failed = self.has_commit_failed, False
        if to_savepoint and not has_failed and self._conn.in_transaction:
            self._run_one(_BACK)
            self._run_one(RELEASE)
            return True
        self._conn.rollback()
        return False

    def _run(
        self,
        statements: Sequence[Statement],
        is_inside: bool,  # noqa: FBT001 - called by the thread, with what run() got
    ) -> list[sqlite3.Row]:
        if is_inside and not self._conn.in_transaction:
            raise UndoneError
        found: list[sqlite3.Row] = []
        for statement in statements:
            self.has_commit_failed = statement is COMMIT
            found = self._run_one(statement) or found
        self.has_commit_failed = False
        return found

    def _run_one(self, statement: Statement) -> list[sqlite3.Row]:
        sql, rows, inserted = statement
        if len(rows) == 1:
            cursor = self._conn.execute(sql, rows[0])
            if inserted is not None:
                inserted.take(cursor.lastrowid)
            return cursor.fetchall()
        self._conn.executemany(sql, rows)
        return []
