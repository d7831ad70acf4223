"""Statements that are run together, in SQLite's thread or where they are asked for.

Each call into that thread wakes two threads and the loop, which takes longer than
most statements do. So what belongs together makes one call, and what waits for
nothing makes none: it is run at once, while that thread has nothing to do.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec, TypeVar

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

# Rows that are written in the loop's thread at once: some microseconds each.
_FEW = 64
# Seconds between two looks whether another program still holds the file.
_LOOK_AGAIN = 0.02

_P = ParamSpec("_P")
_T = TypeVar("_T")


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
        patience: Seconds that SQLite's thread waits for another program that holds
            the file.
    """

    has_commit_failed = False
    patience = 0.0
    _is_shared: bool = False
    # Each is written by one thread only: nothing is under way while they are equal.
    _asked: int = 0
    _done: int = 0

    async def share(self, patience: float) -> None:
        """Let statements be run in the loop's thread as well, from now on.

        Nobody but :meth:`run` may be called after that. SQLite itself waits for no
        other program any more, because the loop must not.

        Args:
            patience: See the attribute.
        """
        self.patience = patience
        await self.execute_fetchall("PRAGMA busy_timeout = 0")
        self._is_shared = True

    async def run(
        self,
        statements: Iterable[Statement],
        *,
        is_inside: bool,
        is_short: bool = False,
    ) -> list[sqlite3.Row]:
        """Run statements in order, in one go; the first that fails ends it.

        Args:
            statements: What to run.
            is_inside: Whether a transaction is open. SQLite undoes one by itself on
                some errors, and what follows would be kept without the rest of it.
            is_short: Whether all of it finds its rows by their keys. That is run
                in the thread of the loop, as far as it waits for nothing: no
                commit, which waits for the disk, not for another program, and
                behind nothing that runs in SQLite's thread.

        Returns:
            The rows of the last one that has any.

        Raises:
            UndoneError: No transaction is open, and one should be.
        """
        left = [*statements]
        found: list[sqlite3.Row] = []
        if is_short and self._is_at_hand(left):
            found, left = self._run_at_once(left, is_inside=is_inside)
            if not left:
                return found
            is_inside = self._conn.in_transaction
        rows: list[sqlite3.Row] = await self._execute(self._run, left, is_inside)
        return rows or found

    def _is_at_hand(self, statements: Sequence[Statement]) -> bool:
        """Tell whether statements wait for nothing, but maybe another program."""
        return (
            self._is_shared
            and self._asked == self._done
            and COMMIT not in statements
            and sum(len(each.rows) for each in statements) <= _FEW
        )

    def _run_at_once(
        self, statements: list[Statement], *, is_inside: bool
    ) -> tuple[list[sqlite3.Row], list[Statement]]:
        """Run statements in this thread; return rows, and what has to wait."""
        self._check_inside(is_inside=is_inside)
        self.has_commit_failed = False
        found: list[sqlite3.Row] = []
        for number, statement in enumerate(statements):
            try:
                found = self._run_one(statement) or found
            except Exception as error:
                if not _is_busy(error):
                    raise
                return found, statements[number:]
        return found, []

    async def undo(self, *, to_savepoint: bool) -> bool:
        """Undo what is not committed, behind whatever still runs.

        Args:
            to_savepoint: Leave what was written before the last :data:`SAVEPOINT`.

        Returns:
            Whether that is still there: SQLite undoes all by itself on some errors,
            and after a commit that failed, or where the savepoint cannot be reached,
            all is undone.
        """
        is_left: bool = await self._execute(self._undo, to_savepoint)
        return is_left

    async def _execute(
        self, fn: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Have something done by SQLite's thread; the library calls this, too."""

        def work() -> _T:
            try:
                return fn(*args, **kwargs)
            finally:
                self._done += 1

        self._asked += 1
        result: _T = await super()._execute(work)  # type: ignore[no-untyped-call] # aiosqlite has no types for it
        return result

    def _undo(
        self,
        to_savepoint: bool,  # noqa: FBT001 - called by the thread, with what undo() got
    ) -> bool:
        has_failed, self.has_commit_failed = self.has_commit_failed, False
        if to_savepoint and not has_failed and self._conn.in_transaction:
            with contextlib.suppress(self._conn.Error):
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
        self._check_inside(is_inside=is_inside)
        found: list[sqlite3.Row] = []
        for statement in statements:
            self.has_commit_failed = statement is COMMIT
            found = self._run_patiently(statement) or found
        self.has_commit_failed = False
        return found

    def _check_inside(self, *, is_inside: bool) -> None:
        if is_inside and not self._conn.in_transaction:
            raise UndoneError

    def _run_patiently(self, statement: Statement) -> list[sqlite3.Row]:
        """Run a statement when no other program holds the file any more.

        A commit holds the file already, and is never tried twice.
        """
        until = time.monotonic() + self.patience
        while True:
            try:
                return self._run_one(statement)
            except Exception as error:
                is_over = self.has_commit_failed or time.monotonic() > until
                if is_over or not _is_busy(error):
                    raise
            time.sleep(_LOOK_AGAIN)

    def _run_one(self, statement: Statement) -> list[sqlite3.Row]:
        sql, rows, inserted = statement
        if len(rows) == 1:
            cursor = self._conn.execute(sql, rows[0])
            if inserted is not None:
                inserted.take(cursor.lastrowid)
            return cursor.fetchall()
        self._conn.executemany(sql, rows)
        return []


def _is_busy(error: Exception) -> bool:
    """Tell whether another program holds the file; by whichever library it is said."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF == sqlite3.SQLITE_BUSY
