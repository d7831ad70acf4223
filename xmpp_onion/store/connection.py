"""The SQLite file of an account: made, checked, migrated, opened, closed."""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from pathlib import Path

import aiosqlite

from xmpp_onion import private
from xmpp_onion.errors import (
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreKeyError,
    StoreLockedError,
    StorePermissionError,
)
from xmpp_onion.store import cipher, files, schema
from xmpp_onion.store.rows import CHECKED, compare, damaged
from xmpp_onion.store.statements import Connection, Value

log = logging.getLogger(__name__)

# Another program's SQLite shell or backup may hold the file for a while; we wait
# for it in the database's own thread. Seconds.
BUSY_TIMEOUT = 60.0

# The log is taken into the file at 256 pages: with SQLite's 1,000 it grows to 4 MB,
# which on a full disk nobody gets back, for taking it in needs room, too.
_SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 256;
PRAGMA journal_size_limit = 1048576;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA temp_store = MEMORY;
"""


# A disk with less is full: of memory that is shared there SQLite says no more than that
# it failed.
_FULL_BYTES = 64 * 1024
# How Python's module begins what it says of a text that is not UTF-8.
_UNDECODABLE = "Could not decode to UTF-8"


async def make_ready(
    path: Path, migrations: Sequence[str], *, create: bool, key: bytes | None
) -> None:
    """Create, check and migrate the file, so that it only has to be opened."""
    for companion in (beside(path, suffix) for suffix in files.COMPANIONS):
        private.check_file(companion)
    if not private.check_file(path):
        if not create or files.has_content(beside(path, "-wal")):
            raise StoreCorruptError(
                f"{path} is missing",
                why="the account was there before",
                fix="Restore the file from a backup",
            )
        await _create(path, migrations, key)
    version = await inspect(path, key)
    script = schema.pending(version, migrations, name=str(path))
    if script:
        await _migrate(path, version, script, key)


async def _create(path: Path, migrations: Sequence[str], key: bytes | None) -> None:
    """Make the file under another name first: it is there complete or not at all."""
    unfinished = beside(path, ".new")
    files.create_draft(unfinished)
    async with connect(unfinished, mode="rw", key=key) as connection:
        # The log is chosen now, so that no rollback journal ever lies by the file.
        await configure(unfinished, connection, key)
        await _apply(unfinished, connection, schema.pending(0, migrations, name=""))
        # All of it has to be in the one file that gets the name: closing would leave
        # in the log, and not say so, what a full disk had no room for.
        with sqlite_errors(unfinished):
            await connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    private.publish(unfinished, path)


async def inspect(path: Path, key: bytes | None) -> int:
    """Return the version of a sound store; look only, so a damaged one stays as is.

    Raises:
        StoreKeyError: There is a key, and the file is not encrypted.
        StoreCorruptError: Not a store, damaged, or encrypted with another key.
    """
    if key is not None and cipher.is_plain(path):
        raise StoreKeyError(
            f"{path} is not encrypted",
            why="a key was given for it, so it is another file, or an old one",
            fix="It was left as it is: restore the encrypted file from a backup",
        )
    # A rollback journal, as a restored backup may have after a crash, has to be
    # played back before anything can be read.
    mode = "rw" if files.has_content(beside(path, "-journal")) else "ro"
    async with connect(path, mode=mode, key=key) as connection:
        with sqlite_errors(path):
            ours = await _read_pragma(connection, "PRAGMA application_id")
            version = await _read_pragma(connection, "PRAGMA user_version")
            findings = await _read_pragma(connection, "PRAGMA quick_check(1)")
        if ours != schema.APPLICATION_ID or not isinstance(version, int):
            raise damaged(path, "it is not a store of xmpp-onion")
        if findings != "ok":
            raise damaged(path, f"its check says: {findings!r}")
        if version >= schema.CHECKSUMS_SINCE:
            await _check_rows(path, connection)
    return version


async def _check_rows(path: Path, connection: aiosqlite.Connection) -> None:
    """Compare all checksums, before anything is written beside a damaged row."""
    for table, columns in CHECKED.items():
        texts = ", ".join(columns)
        with sqlite_errors(path):
            async with connection.execute(
                f"SELECT checksum, {texts} FROM {table}"  # noqa: S608 - constants
            ) as rows:
                async for kept, *parts in rows:
                    compare(path, table, kept, *parts)


async def _migrate(path: Path, version: int, script: str, key: bytes | None) -> None:
    """Bring an older file to the newest version, with a copy of it kept beside.

    The copy is encrypted with the same key, if there is one.
    """
    copy = beside(path, f".backup-v{version}")
    unfinished = beside(path, ".backup-new")
    files.create_draft(unfinished)
    async with connect(path, mode="rw", key=key) as connection:
        await configure(path, connection, key)
        with sqlite_errors(path):
            await connection.execute_fetchall("VACUUM INTO ?", (str(unfinished),))
        private.publish(unfinished, copy)
        await _apply(path, connection, script)
    log.info("store migrated from version %d", version)


async def _apply(path: Path, connection: aiosqlite.Connection, script: str) -> None:
    """Run a script that carries its own transaction."""
    with sqlite_errors(path):
        await connection.executescript(script)


async def configure(
    path: Path, connection: aiosqlite.Connection, key: bytes | None
) -> None:
    """Set what SQLite does not keep in the file, and be sure of the log.

    Raises:
        StoreError: The file system cannot carry a write-ahead log. Move the file.
    """
    with sqlite_errors(path):
        await connection.executescript(_SETTINGS)
        journal = await _read_pragma(connection, "PRAGMA journal_mode")
    if journal != "wal":
        raise StoreError(
            f"{path} cannot be used safely",
            why=f"SQLite has no write-ahead log there (journal mode {journal!r})",
            fix="Keep the data directory on a local file system",
        )
    cipher.use_rows(connection, key)


async def _read_pragma(connection: aiosqlite.Connection, sql: str) -> Value:
    rows = list(await connection.execute_fetchall(sql))
    value: Value = rows[0][0]
    return value


@contextlib.asynccontextmanager
async def connect(
    path: Path, *, mode: str, key: bytes | None
) -> AsyncIterator[Connection]:
    """Open a file that is there, in a thread of its own, and close it for sure.

    Args:
        path: The file.
        mode: ``rw``, or ``ro`` to leave file and log as they are, on closing too.
        key: What the file is encrypted with; None if it is not.
    """
    uri = f"{path.as_uri()}?mode={mode}"
    if key is None:
        connection = cipher.plain_connector(uri, BUSY_TIMEOUT)
    else:
        connection = cipher.connector(uri, key, BUSY_TIMEOUT)

    async def enter() -> None:
        with sqlite_errors(path):
            await connection

    cancelled = await to_the_end(enter())
    try:
        if cancelled:
            raise cancelled
        yield connection
    finally:
        cancelled = await to_the_end(connection.close())
    if cancelled:
        raise cancelled


async def to_the_end(
    work: Coroutine[object, object, None],
) -> asyncio.CancelledError | None:
    """Run something that must not be cut short, whoever is cancelled meanwhile.

    Returns:
        The cancellation that came, for the caller to raise when it is ready.

    Raises:
        CancelledError: One came and the work failed too; the failure is chained.
    """
    # A task of its own, because a cancellation reaches whatever we await; it never
    # outlives this function.
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled and not task.cancelled() and (failure := task.exception()):
        raise cancelled from failure
    task.result()
    return cancelled


def beside(path: Path, suffix: str) -> Path:
    """Return the name of a companion file, in SQLite's way."""
    return path.with_name(path.name + suffix)


# --- errors ---------------------------------------------------------------------


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours. Its texts name tables, never values."""
    try:
        yield
    except UnicodeDecodeError:
        # All that we store is UTF-8. Not chained: what says so carries the text.
        raise _not_text(path) from None
    except cipher.driver_errors() as error:
        if _UNDECODABLE in str(error):
            raise _not_text(path) from None
        raise _translate(error, path) from error


def _not_text(path: Path) -> StoreCorruptError:
    return damaged(path, "it holds text that is no text")


def _translate(error: Exception, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    why = str(error)
    if code == sqlite3.SQLITE_FULL or (
        code == sqlite3.SQLITE_IOERR
        and shutil.disk_usage(path.parent).free < _FULL_BYTES
    ):
        return StoreFullError(
            f"{path} was not written",
            why="the disk is full",
            fix=f"Make room (see: df -h {path.parent}), then try again",
        )
    match code:
        case sqlite3.SQLITE_CORRUPT:
            return damaged(path, why)
        case sqlite3.SQLITE_NOTADB:
            return damaged(path, f"{why}: damaged, or encrypted with another key")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLockedError(
                f"{path} is in use",
                why=f"another program held it for {BUSY_TIMEOUT:.0f} s",
                fix=f"Close it; it shows in: fuser {path}",
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return StorePermissionError(
                f"{path} cannot be opened or written",
                why=why,
                fix=f"Check with: ls -la {path.parent}",
            )
        case _:
            is_disk = code == sqlite3.SQLITE_IOERR
            fix = f"It may be full: df -h {path.parent}; then try again"
            return StoreError(f"{path} failed", why=why, fix=fix if is_disk else "")
