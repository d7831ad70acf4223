"""One SQLite file for each account, and the unit of work on it.

A message in or out is one transaction: what the ratchet changed, the message
itself and the mark that it was seen reach the disk together or not at all.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextvars import ContextVar
from pathlib import Path
from typing import Self, TypeAlias

from xmpp_onion.errors import StoreError
from xmpp_onion.store import files, schema
from xmpp_onion.store.connection import (
    BUSY_TIMEOUT,
    beside,
    configure,
    connect,
    make_ready,
    sqlite_errors,
    to_the_end,
)
from xmpp_onion.store.conversion import finish
from xmpp_onion.store.group import Group, Hook, Moment, Transaction
from xmpp_onion.store.progress import Progress
from xmpp_onion.store.rows import reading
from xmpp_onion.store.statements import (
    COMMIT,
    Connection,
    Inserted,
    Statement,
    UndoneError,
    Value,
)
from xmpp_onion.store.witness import Witness

log = logging.getLogger(__name__)

Write: TypeAlias = Callable[[], Awaitable[None]]
"""Writes something inside a transaction that somebody else has begun."""

_CLOSED_BEFORE = "the store was closed before the transaction ended"
_COUNT = Statement("UPDATE generation SET value = value + 1 RETURNING value")

# Tasks started inside a transaction inherit it with their context, as a TaskGroup
# of a library may do; whether it is still open is the database's to say.
_inside: ContextVar[frozenset[Transaction]] = ContextVar(
    "_inside",
    default=frozenset(),
)


class _ClosedError(RuntimeError):
    """The store is closed."""


def _nobody() -> bool:
    return False


class Database:
    """The open file of one account: one writer, first come first served.

    Everything else of this package is a small class over it. A read inside a
    transaction sees what the transaction wrote; a read outside waits for its
    turn, so that nobody acts on what is not yet on the disk.

    Use :meth:`open`; the constructor does not open anything.

    Attributes:
        path: The file.
        progress: How far it has come, and whether it was further once.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self.progress = Progress(path)
        self._connection = connection
        self._turn = asyncio.Lock()  # fair: waiters are woken in order
        self._waiting = 0  # transactions that wait for theirs
        self._current: Transaction | None = None
        self._group: Group | None = None  # of what has ended and is not committed
        self._closed = False
        self._before_commit: list[Callable[[], Awaitable[None]]] = []
        self._hooks: dict[Moment, list[Hook]] = {moment: [] for moment in Moment}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        key: bytes | None = None,
        create: bool = True,
        migrations: Sequence[str] = schema.MIGRATIONS,
        witness: Path | None = None,
    ) -> AsyncIterator[Self]:
        """Open an account's file, made private and locked for as long as it is open.

        A file that cannot be read is left as it is: a new identity never takes
        its place silently. Before an older format is migrated, a copy is written
        beside it, named ``….backup-v<version>``.

        Args:
            path: The file; its folder is made (0700) if it is missing.
            key: 32 random bytes that everything in the file, its log and its copies
                is encrypted with (SQLCipher; the extra ``atrest``). None for a file
                that is not encrypted. A file of the other kind is refused.
            create: Whether a missing file is made. False where an account is
                known to exist, so that a lost file is noticed.
            migrations: Tests append to them; see :mod:`xmpp_onion.store.schema`.
            witness: A folder outside of the account's, where it is noted how far
                the file has come; see `Progress`. None notes nothing.

        Raises:
            StoreLockedError: Another process, or this one, has it open.
            StorePermissionError: The file or folder is not ours alone, or cannot
                be written; the error names the command that mends it.
            StoreCorruptError: Not a store, damaged, or encrypted with another key.
                Give its key, or restore a backup.
            StoreKeyError: There is a key, and the file is not encrypted.
            StoreError: SQLCipher is not installed, or the disk is full.
            StoreTooNewError: A newer version wrote it. Upgrade.
        """
        _cap_library_log()
        path = files.make_place(path)
        async with files.hold_lock(beside(path, ".lock")):
            if key is not None:
                await finish(path, key)
            await make_ready(path, migrations, create=create, key=key)
            async with connect(path, mode="rw", key=key) as connection:
                await configure(path, connection, key)
                await connection.share(BUSY_TIMEOUT)
                log.info("store open")
                database = cls(path, connection)
                async with contextlib.AsyncExitStack() as stack:
                    await database._call_witness(witness, stack)
                    stack.push_async_callback(database._close)
                    yield database

    # --- the unit of work -------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether the calling task is inside a transaction of this database."""
        return self._current is not None and self._current in _inside.get()

    def require_transaction(self) -> None:
        """Raise RuntimeError unless the calling task is inside a transaction."""
        if not self.in_transaction:
            raise RuntimeError("use `async with database.transaction():` to write")

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, follow: Callable[[], bool] = _nobody
    ) -> AsyncIterator[None]:
        """Make all writes of the block one: on the disk when it ends, or undone.

        Whatever leaves the block as an exception, a cancellation too, rolls back
        and drops the caches. A cancellation that comes while the commit runs is
        raised when it has ended: the work is then on the disk.

        Do no network and no long work inside: everybody waits. Those that do so
        when a transaction ends share its commit (:mod:`xmpp_onion.store.group`).

        Args:
            follow: Called when the block has ended: lets somebody come who has to be
                behind it, and tells whether there is anybody.

        Raises:
            RuntimeError: The task is inside a transaction already.
            StoreError: It could not be written, and is undone; a full disk says so.
        """
        if self.in_transaction:
            raise RuntimeError("transactions do not nest: this task is inside one")
        await self._take_turn()
        try:
            self._check_open()
            transaction = self._current = Transaction(self._group or Group())
            token = _inside.set(_inside.get() | {transaction})
            try:
                yield
                # While that task waits for its turn of the loop, whoever is ready comes
                # to share the commit: without it a busy reader has twice as many.
                cancelled = await to_the_end(self._end(transaction, follow))
            except BaseException:
                await self._undo(transaction)
                raise
            finally:
                self._current = None
                _inside.reset(token)
        finally:
            self._turn.release()
        if not transaction.is_idle:
            cancelled = await self._wait_for_commit(transaction) or cancelled
        if cancelled:
            raise cancelled from transaction.group.failure
        transaction.check()

    async def _take_turn(self) -> None:
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1

    def _check_open(self) -> None:
        if self._closed:
            raise _ClosedError("the store is closed")

    @contextlib.asynccontextmanager
    async def _turn_outside(self) -> AsyncIterator[None]:
        """Take a turn outside of transactions: all that has ended is on the disk."""
        async with self._turn:
            self._check_open()
            if self._group is not None:
                cancelled = await to_the_end(self._commit(self._group))
                if cancelled:
                    raise cancelled
            yield

    def before_commit(self, write: Write) -> None:
        """Have ``write`` called at the end of each transaction, still inside it."""
        self._before_commit.append(write)

    def at(self, moment: Moment, hook: Hook) -> None:
        """Have ``hook`` called at a moment of each transaction; must not raise."""
        self._hooks[moment].append(hook)

    def after_commit(self, settle: Hook) -> None:
        """Have ``settle`` called when a transaction is on the disk; must not raise.

        Those that share a commit are one for it.
        """
        self.at(Moment.COMMITTED, settle)

    def on_rollback(self, drop: Hook) -> None:
        """Have ``drop`` called when a transaction was undone; must not raise.

        For caches: they may hold what never came to be.
        """
        self.at(Moment.UNDONE, drop)

    def _call(self, moment: Moment) -> None:
        for hook in self._hooks[moment]:
            hook()

    # --- statements -------------------------------------------------------------

    async def fetch(
        self, sql: str, parameters: Sequence[Value] = (), *, is_patient: bool = False
    ) -> list[sqlite3.Row]:
        """Return the rows of a query: inside a transaction, or in our turn.

        Args:
            sql: The query.
            parameters: Of the query.
            is_patient: Let transactions that share a commit come to their end, for
                some milliseconds, where others commit what has ended.
        """
        if self.in_transaction:
            return await self._execute(sql, parameters)
        if is_patient:
            async with self._turn:
                group = self._group
            if group is not None:
                await group.wait()
        async with self._turn_outside():
            return await self._execute(sql, parameters)

    async def peek(
        self, sql: str, parameters: Sequence[Value] = ()
    ) -> list[sqlite3.Row]:
        """Return rows in our turn, also those that are not on the disk yet.

        For whoever tells nobody of it before a transaction of his own has ended, and
        looks for what has an index: it may be found in the thread of the loop.
        """
        statement = Statement(sql, (parameters,))
        if self.in_transaction:
            return await self._run(statement, is_short=True)
        async with self._turn:
            self._check_open()
            return await self._run(statement, is_short=True)

    async def execute(self, sql: str, parameters: Sequence[Value] = ()) -> None:
        """Change rows, at the latest when something is read or the transaction ends.

        So that is where it is raised that they cannot be changed.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._gather(Statement(sql, (parameters,)))

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Change rows with one statement for many values; see :meth:`execute`.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._gather(Statement(sql, tuple(rows)))

    async def insert(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Insert a row and return its id.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._gather(Statement(sql, (parameters,)))
        [row] = await self._run(Statement("SELECT last_insert_rowid()"), is_short=True)
        return int(row[0])

    async def insert_later(
        self, sql: str, parameters: Sequence[Value] = ()
    ) -> Inserted:
        """Insert a row as :meth:`execute` does; its id is known when it is there.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        inserted = Inserted()
        self._gather(Statement(sql, (parameters,), inserted))
        return inserted

    async def wipe_log(self) -> None:
        """Take out of the write-ahead log what was deleted from the file.

        SQLite leaves old pages in the log until it is full; closing does this, too.
        Where another program reads the file just now, nothing is wiped.
        """
        with contextlib.suppress(_ClosedError):
            async with self._turn_outside():
                await self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- how far it has come ----------------------------------------------------

    async def generation(self) -> int:
        """Return how many transactions have changed this file.

        A copy that was put back, and so repeats message keys, has a lower one.
        """
        rows = await self.fetch("SELECT value FROM generation")
        return int(rows[0]["value"])

    async def accept_rollback(self) -> None:
        """Count on from where the file was once, with this transaction.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        if highest := self.progress.highest:
            await self.execute(
                "UPDATE generation SET value = max(value, ?)", (highest,)
            )

    async def _call_witness(
        self, folder: Path | None, stack: contextlib.AsyncExitStack
    ) -> None:
        if folder is None:
            return
        [row] = await self._execute("SELECT value, store_id FROM generation")
        with reading(self.path, "generation"):
            generation = int(row["value"])
        store_id = str(row["store_id"])
        known = stack.enter_context(Witness.open(folder, store_id))
        self.progress.begin(generation, known, store_id)

    # --- inside -----------------------------------------------------------------

    def _gather(self, statement: Statement) -> None:
        self.require_transaction()
        if self._current:
            self._current.wrote = True
            self._current.gathered.append(statement)

    async def _execute(
        self, sql: str, parameters: Sequence[Value] = ()
    ) -> list[sqlite3.Row]:
        return await self._run(Statement(sql, (parameters,)))

    async def _run(
        self, *statements: Statement, is_short: bool = False
    ) -> list[sqlite3.Row]:
        """Run statements behind what was gathered, all in one go."""
        transaction = self._current if self.in_transaction else None
        if transaction is None:
            with sqlite_errors(self.path):
                return await self._connection.run(
                    statements, is_inside=False, is_short=is_short
                )
        if transaction.broken_by is not None:
            raise self._undone()
        is_inside, begin = transaction.group.has_begun, transaction.begin()
        gathered, transaction.gathered = transaction.gathered, []
        try:
            with sqlite_errors(self.path):
                return await self._connection.run(
                    (*begin, *gathered, *statements),
                    is_inside=is_inside,
                    is_short=is_short,
                )
        except UndoneError:
            raise self._undone() from None
        except StoreError as error:
            # Who swallows it must not be told that what came later is on the disk.
            transaction.broken_by = error
            raise

    def _undone(self) -> StoreError:
        return StoreError(
            f"{self.path} was not written",
            why="an earlier statement of the transaction failed and undid it",
        )

    async def _end(self, transaction: Transaction, follow: Callable[[], bool]) -> None:
        """End a transaction: with a commit, unless somebody comes who can share it."""
        if self._closed:
            raise RuntimeError(_CLOSED_BEFORE)
        for write in self._before_commit:
            await write()
        if transaction.broken_by is not None:
            raise self._undone()
        if transaction.is_idle:
            self._call(Moment.ENDED)
            if not transaction.group.ended:
                self._conclude(transaction.group)
        else:
            transaction.is_followed = follow()
            is_last = not (transaction.is_followed or self._waiting)
            is_last = is_last or transaction.group.is_full
            await self._end_in_group(transaction, is_last=is_last)

    async def _end_in_group(self, transaction: Transaction, *, is_last: bool) -> None:
        group = transaction.group
        statements = [_COUNT] if transaction.wrote else []
        if is_last:
            statements.append(COMMIT)
        elif statements or transaction.is_part:
            statements += transaction.release()
        if statements:
            rows = await self._run(*statements, is_short=True)
            if transaction.wrote:
                group.generation = int(rows[0]["value"])
        group.ended += 1
        self._group = group
        self._call(Moment.ENDED)
        if is_last:
            self._conclude(group)

    async def _wait_for_commit(
        self, transaction: Transaction
    ) -> asyncio.CancelledError | None:
        """Have what has ended on the disk, or undone, whoever does it."""
        group, cancelled = transaction.group, None
        if transaction.is_followed:
            cancelled = await group.wait_to_the_end()
        if not group.is_over:
            cancelled = await to_the_end(self._finish(group)) or cancelled
        return cancelled

    async def _finish(self, group: Group) -> None:
        async with self._turn:  # behind those that wait already: turns are fair
            await self._settle(group)

    async def _settle(self, group: Group) -> None:
        if group.is_over:
            return
        if self._closed:
            await self._lose(group, RuntimeError(_CLOSED_BEFORE))
        else:
            await self._commit(group)

    async def _commit(self, group: Group) -> None:
        """Commit what has ended; what fails is for its members to raise."""
        try:
            if group.has_begun:
                with sqlite_errors(self.path):
                    await self._connection.run((COMMIT,), is_inside=True)
        except UndoneError:
            await self._lose(group, self._undone())
        except StoreError as error:
            await self._lose(group, error)
        else:
            self._conclude(group)

    def _conclude(self, group: Group) -> None:
        self._group = None
        self.progress.note(group.generation)
        self._call(Moment.COMMITTED)
        group.close()

    async def _lose(self, group: Group, failure: Exception) -> None:
        """Undo all of a group."""
        self._group = None
        try:
            if not self._closed:  # else SQLite undid it
                with sqlite_errors(self.path):
                    await self._connection.undo(to_savepoint=False)
        except StoreError:
            log.debug("what was undone by SQLite was undone again")
        finally:
            self._call(Moment.UNDONE)
            self._call(Moment.LOST)
            group.close(failure)

    async def _undo(self, transaction: Transaction) -> None:
        cancelled = await to_the_end(self._roll_back(transaction))
        if cancelled:
            raise cancelled

    async def _roll_back(self, transaction: Transaction) -> None:
        """Undo one transaction, and leave what it would have shared a commit with."""
        group = transaction.group
        is_left = False
        try:
            if self._closed:
                return  # by then SQLite undid it
            is_left = await self._undo_one(transaction)
        finally:
            self._call(Moment.UNDONE)
            if not is_left:
                self._group = None
                self._call(Moment.LOST)
                group.close(transaction.broken_by or self._undone())
            log.debug("transaction undone")

    async def _undo_one(self, transaction: Transaction) -> bool:
        """Undo a transaction in SQLite; tell whether those before it are left."""
        group = transaction.group
        has_others = group.ended > 0
        with sqlite_errors(self.path):  # behind what still runs there
            if transaction.is_part:
                return await self._connection.undo(to_savepoint=True)
            if transaction.has_begun or not group.has_begun:
                has_failed = self._connection.has_commit_failed
                await self._connection.undo(to_savepoint=False)
                group.has_begun = False
                return has_others and not has_failed
        return has_others

    async def _close(self) -> None:
        """Wait for the transaction that is open; one that hangs can be cut short."""
        try:
            await self._turn.acquire()
        except BaseException:
            self._closed = True
            raise
        cancelled = None
        try:
            if self._group is not None:
                cancelled = await to_the_end(self._commit(self._group))
        finally:
            self._closed = True  # for good: who waits for a turn gets it, and is told
            self._turn.release()
        if cancelled:
            raise cancelled


def _cap_library_log() -> None:
    """Keep what is stored out of logs: at DEBUG, aiosqlite prints all values."""
    logger = logging.getLogger("aiosqlite")
    logger.setLevel(max(logger.level, logging.ERROR))
