"""An account's rows on their way to another machine, as lines of text.

What a copy must not have never leaves: no session, nothing that waits to be sent, and
not how far this file has come. What is left out on purpose is named, so that a new
table is decided about.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiosqlite

from xmpp_onion.errors import StoreCorruptError, StoreTooNewError
from xmpp_onion.store import schema
from xmpp_onion.store.connection import (
    configure,
    connect,
    inspect,
    make_ready,
    sqlite_errors,
)

if TYPE_CHECKING:
    from xmpp_onion.store.statements import Value

__all__ = ["LEFT_OUT", "MOVED", "read_rows", "write_rows"]

MOVED: Final = (
    "contacts", "inbox", "invitations", "keys", "notes", "requests", "room_marks",
    "room_members", "room_names", "rooms", "tallies", "timers", "waiting",
    "deliveries",
)  # fmt: skip
"""The tables that are taken along."""
LEFT_OUT: Final = frozenset(
    {
        "cursors",  # what the archives have was not encrypted for the new device
        "generation",  # another file has a name and a count of its own
        "jobs",  # the old device does its own
        "outbox",  # what waits goes out where it was encrypted, once
        "owed",
        "seen",  # what the old device was sent is not sent to the new one
        "set_aside",  # waits for keys of sessions that are not taken along
        "tokens",  # they are for other users of that machine
    }
)
"""Those that are not, each with its reason."""
# What waits to be sent does not, on the other machine.
_WHERE: Final = {"deliveries": "WHERE state != 'queued'"}
# Rows that are read at once; a row of the inbox may hold a message.
_PAGE: Final = 500


async def read_rows(
    path: Path, key: bytes | None, *, keeps: Callable[[str], bool]
) -> AsyncGenerator[str, None]:
    """Yield the rows of a store as they were at one moment, each as a line.

    The first line says which format they have. A process that holds the store goes
    on meanwhile.

    Args:
        path: The store.
        key: What it is encrypted with; None if it is not.
        keeps: Tells of a name in ``keys`` whether it is taken along.

    Raises:
        StoreError: It is damaged, or cannot be read.
    """
    version = await inspect(path, key)
    if version != len(schema.MIGRATIONS):
        raise StoreTooNewError(
            f"{path} has another format",
            found=version,
            known=len(schema.MIGRATIONS),
            why=f"its format is {version}, and not {len(schema.MIGRATIONS)}",
            fix="Log in once with this version of xmpp-onion, which brings it there.",
        )
    yield json.dumps({"format": version})
    async with connect(path, mode="ro", key=key) as connection:
        with sqlite_errors(path):
            await connection.execute_fetchall("BEGIN")
            for table in MOVED:
                rows = _read_table(connection, table, keeps)
                async with contextlib.aclosing(rows) as lines:
                    async for line in lines:
                        yield line


async def _read_table(
    connection: aiosqlite.Connection, table: str, keeps: Callable[[str], bool]
) -> AsyncGenerator[str, None]:
    names = await _columns(connection, table)
    columns, where = ", ".join(names), _WHERE.get(table, "")
    async with connection.execute(
        f"SELECT {columns} FROM {table} {where}"  # noqa: S608 - constants
    ) as rows:
        while page := list(await rows.fetchmany(_PAGE)):
            for row in page:
                if table != "keys" or keeps(str(row[names.index("key")])):
                    values = dict(zip(names, row, strict=True))
                    yield json.dumps({"table": table, "row": values})


async def _columns(connection: aiosqlite.Connection, table: str) -> list[str]:
    rows = await connection.execute_fetchall(f"PRAGMA table_info({table})")
    return [str(row[1]) for row in rows]


async def write_rows(path: Path, key: bytes | None, lines: Iterable[str]) -> None:
    """Make a new store out of what :func:`read_rows` yielded, all of it or none.

    Args:
        path: Where; nothing of that name may be there.
        key: What it is encrypted with from now on; None if it is not.
        lines: As they came; what they say was authenticated.

    Raises:
        StoreTooNewError: A newer version wrote them.
        StoreCorruptError: They are no such lines.
        StoreError: It cannot be written.
    """
    source = iter(lines)
    try:
        version = int(json.loads(next(source))["format"])
        # Only refuses one that is newer: the rows are of that very format.
        schema.pending(version, schema.MIGRATIONS, name="the exported account")
        migrations = schema.MIGRATIONS[:version]
        await make_ready(path, migrations, create=True, key=key)
        async with connect(path, mode="rw", key=key) as connection:
            await configure(path, connection, key)
            with sqlite_errors(path):
                await connection.execute_fetchall("BEGIN IMMEDIATE")
                for line in source:
                    await _write_row(connection, line)
                await connection.execute_fetchall("COMMIT")
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise StoreCorruptError(
            "the exported account cannot be read",
            why=f"it holds what an export never holds ({type(error).__name__})",
            fix="Export it again.",
        ) from error


async def _write_row(connection: aiosqlite.Connection, line: str) -> None:
    found = json.loads(line)
    table: str = found["table"]
    row: dict[str, Value] = found["row"]
    known = await _columns(connection, table)
    if table not in MOVED or not set(row) <= set(known):
        raise ValueError(table)
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    await connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 - checked
        tuple(row.values()),
    )
