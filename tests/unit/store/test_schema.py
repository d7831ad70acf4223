"""Versions: forward only, in one step, with a copy of what was before."""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlcipher3

from xmpp_onion.errors import StoreError, StoreTooNewError
from xmpp_onion.store import Database, schema

FIRST = schema.MIGRATIONS[:1]
VERSION_2 = """
ALTER TABLE inbox ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';
PRAGMA user_version = 2;
"""
VERSION_3 = "CREATE TABLE cursors (id TEXT) STRICT; PRAGMA user_version = 3;"
BROKEN = "DROP TABLE inbox; CREATE TABLE inbox (id); INSERT INTO nowhere VALUES (1);"


async def open_and_close(
    path: Path, migrations: Sequence[str], *, key: bytes | None
) -> None:
    async with Database.open(path, key=key, migrations=migrations):
        pass


async def fill(path: Path, *, key: bytes | None) -> None:
    async with (
        Database.open(path, key=key, migrations=FIRST) as database,
        database.transaction(),
    ):
        await database.execute(
            "INSERT INTO inbox (event_json, added_at) VALUES (?, ?)",
            ("an event of version 1", "2026-03-04T05:06:07+00:00"),
        )


def keyed(uri: str, key: bytes) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlcipher3.connect(uri, uri=True)
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    return connection


def version(path: Path, *, key: bytes | None) -> int:
    uri = f"{path.as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True) if key is None else keyed(uri, key)
    try:
        number = connection.execute("PRAGMA user_version").fetchone()[0]
        assert isinstance(number, int)
        return number
    finally:
        connection.close()


def test_each_migration_leads_to_its_own_version() -> None:
    connection = sqlite3.connect(":memory:")

    for number in range(len(schema.MIGRATIONS)):
        connection.executescript(schema.MIGRATIONS[number])
        found = connection.execute("PRAGMA user_version").fetchone()
        assert found == (number + 1,)

    found = connection.execute("PRAGMA application_id").fetchone()
    assert found == (schema.APPLICATION_ID,)
    connection.close()


async def test_an_older_file_is_brought_forward_with_its_rows(
    path: Path, key: bytes | None
) -> None:
    await fill(path, key=key)

    migrations = (*FIRST, VERSION_2, VERSION_3)
    async with Database.open(path, key=key, migrations=migrations) as database:
        [row] = await database.fetch("SELECT * FROM inbox")

    assert (row["event_json"], row["colour"]) == ("an event of version 1", "red")
    assert version(path, key=key) == 3


async def test_a_private_copy_of_the_older_file_is_kept(
    path: Path, key: bytes | None
) -> None:
    await fill(path, key=key)

    await open_and_close(path, (*FIRST, VERSION_2), key=key)

    copy = path.with_name("account.db.backup-v1")
    assert version(copy, key=key) == 1
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    async with Database.open(copy, key=key, migrations=FIRST) as database:
        rows = await database.fetch("SELECT * FROM inbox")
    assert [row["event_json"] for row in rows] == ["an event of version 1"]  # usable


async def test_a_file_of_this_version_is_not_copied(
    path: Path, key: bytes | None
) -> None:
    await fill(path, key=key)
    await fill(path, key=key)

    assert {file.name for file in path.parent.iterdir()} == {
        "account.db",
        "account.db.lock",
    }


async def test_a_migration_that_fails_changes_nothing(
    path: Path, key: bytes | None
) -> None:
    await fill(path, key=key)

    with pytest.raises(StoreError, match="no such table"):
        await open_and_close(path, (*FIRST, VERSION_2, BROKEN), key=key)

    assert version(path, key=key) == 1
    async with Database.open(path, key=key, migrations=FIRST) as database:
        assert len(await database.fetch("SELECT * FROM inbox")) == 1


async def test_a_newer_file_is_refused_and_left_as_it_is(
    path: Path, key: bytes | None
) -> None:
    await open_and_close(path, (*FIRST, VERSION_2), key=key)
    before = path.read_bytes()

    with pytest.raises(StoreTooNewError, match="Upgrade") as caught:
        await open_and_close(path, FIRST, key=key)

    assert (caught.value.found, caught.value.known) == (2, 1)
    assert path.read_bytes() == before
