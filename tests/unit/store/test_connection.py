"""Making, checking and opening the file: a damaged one is never replaced."""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import asyncio
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlcipher3

from xmpp_onion.errors import StoreCorruptError, StoreError, StoreKeyError
from xmpp_onion.store import Database, Inbox, Keys, connection


async def fill(path: Path, *, key: bytes | None) -> None:
    async with Database.open(path, key=key) as database:
        keys = Keys(database)
        async with database.transaction():
            for number in range(500):
                await keys.store(str(number), f"text {number} " * 20)


async def open_and_close(path: Path, *, key: bytes | None, create: bool = True) -> None:
    async with Database.open(path, key=key, create=create):
        pass


def shell(path: Path, key: bytes | None) -> sqlite3.Connection:
    """Open a store as somebody does who restores one by hand."""
    if key is None:
        return sqlite3.connect(path, isolation_level=None)
    connection: sqlite3.Connection = sqlcipher3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    return connection


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder; SQLite leaves an empty log after a mere look."""
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if not file.name.endswith((".lock", "-shm")) and file.stat().st_size
    }


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00" * 4096,
        b"this is not a database, it is a letter to my aunt\n" * 100,
        b"SQLite format 3\x00" + b"\xff" * 5000,
    ],
    ids=["emptied", "zeros", "text", "header only"],
)
async def test_what_is_not_a_database_is_refused_and_left_as_it_is(
    path: Path, damage: bytes, key: bytes | None
) -> None:
    await fill(path, key=key)
    path.write_bytes(damage)

    with pytest.raises(StoreError, match="left as it") as caught:
        await open_and_close(path, key=key)

    assert isinstance(caught.value, StoreCorruptError | StoreKeyError)
    assert str(path) in caught.value.what
    assert contents(path.parent) == ({"account.db": damage} if damage else {})


async def test_another_programs_database_is_refused_and_left_as_it_is(
    path: Path, key: bytes | None
) -> None:
    path.parent.mkdir(mode=0o700)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE other (id)")
    other.close()
    path.chmod(0o600)
    before = contents(path.parent)

    with pytest.raises(StoreError, match=r"not a store of xmpp-onion|not encrypted"):
        await open_and_close(path, key=key)

    assert contents(path.parent) == before


async def test_damage_inside_is_found_at_opening_and_left_as_it_is(
    path: Path, key: bytes | None
) -> None:
    await fill(path, key=key)
    sound = path.read_bytes()
    pages = len(sound) // 4096
    assert pages > 30

    for page in range(2, pages, 7):  # the first bytes of a page say how it is laid out
        damaged = bytearray(sound)
        damaged[4096 * page : 4096 * page + 8] = b"\xff" * 8
        path.write_bytes(damaged)

        with pytest.raises(StoreCorruptError):
            await open_and_close(path, key=key)

        assert contents(path.parent) == {"account.db": bytes(damaged)}


async def test_a_cut_file_is_refused(path: Path, key: bytes | None) -> None:
    await fill(path, key=key)
    cut = path.read_bytes()[: 4096 * 10]
    path.write_bytes(cut)

    with pytest.raises(StoreCorruptError):
        await open_and_close(path, key=key)

    assert contents(path.parent) == {"account.db": cut}


async def test_damage_under_a_log_is_left_as_it_is_with_the_log(
    path: Path, tmp_path: Path, key: bytes | None
) -> None:
    await fill(path, key=key)
    crashed = tmp_path / "crashed"
    async with Database.open(path, key=key) as database:
        async with database.transaction():
            await Inbox(database).add("only in the log")
        shutil.copytree(path.parent, crashed)  # as a power cut would leave it
    file = crashed / path.name
    damaged = bytearray(file.read_bytes())
    damaged[4096 * 9 : 4096 * 20] = b"\xff" * 4096 * 11
    file.write_bytes(damaged)
    before = contents(crashed)
    assert set(before) == {"account.db", "account.db-wal"}

    with pytest.raises(StoreCorruptError):
        await open_and_close(file, key=key)

    assert contents(crashed) == before


async def test_a_log_left_by_a_crash_is_read(
    path: Path, tmp_path: Path, key: bytes | None
) -> None:
    crashed = tmp_path / "crashed"
    async with Database.open(path, key=key) as database:
        async with database.transaction():
            await Inbox(database).add("only in the log")
        shutil.copytree(path.parent, crashed)

    async with Database.open(crashed / path.name, key=key) as database:
        rows = await Inbox(database).pending()

    assert [row.event_json for row in rows] == ["only in the log"]


async def test_a_lost_file_is_noticed_by_its_log(
    path: Path, tmp_path: Path, key: bytes | None
) -> None:
    crashed = tmp_path / "crashed"
    async with Database.open(path, key=key) as database:
        async with database.transaction():
            await Inbox(database).add("only in the log")
        shutil.copytree(path.parent, crashed)
    (crashed / path.name).unlink()

    with pytest.raises(StoreCorruptError, match="is missing"):
        await open_and_close(crashed / path.name, key=key)

    assert not (crashed / path.name).exists()


async def test_a_lost_file_is_noticed_where_one_must_be(
    path: Path, key: bytes | None
) -> None:
    with pytest.raises(StoreCorruptError, match="is missing"):
        await open_and_close(path, key=key, create=False)

    assert not path.exists()


async def test_what_a_killed_first_start_left_is_swept_away(
    path: Path, key: bytes | None
) -> None:
    path.parent.mkdir(mode=0o700)
    for name in ["account.db.new", "account.db.new-journal", "account.db.new-wal"]:
        (path.parent / name).write_bytes(b"half of a database")

    await open_and_close(path, key=key)

    assert set(contents(path.parent)) == {"account.db"}


async def test_a_journal_left_by_a_crash_is_played_back(
    path: Path, tmp_path: Path, key: bytes | None
) -> None:
    await fill(path, key=key)
    restored = shell(path, key)
    restored.execute("PRAGMA journal_mode = DELETE")
    before = path.read_bytes()
    restored.execute("PRAGMA cache_size = 1")  # changes reach the file early
    restored.execute("BEGIN")
    restored.execute("UPDATE keys SET text = 'never committed'")
    crashed = tmp_path / "crashed"
    shutil.copytree(path.parent, crashed)
    restored.close()
    assert (crashed / "account.db-journal").stat().st_size
    assert (crashed / path.name).read_bytes() != before

    async with Database.open(crashed / path.name, key=key) as database:
        keys = Keys(database)
        assert await keys.load("7") == "text 7 " * 20


async def test_the_settings_that_keep_our_promises_are_on(database: Database) -> None:
    promised = {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
        "temp_store": 2,  # memory
        "busy_timeout": 0,  # the loop waits for nobody; its own thread does
    }

    found = {name: (await database.fetch(f"PRAGMA {name}"))[0][0] for name in promised}

    assert found == promised
    assert database._connection.patience == 60


async def test_the_log_does_not_grow_past_a_megabyte(path: Path) -> None:
    log, sizes = path.with_name(f"{path.name}-wal"), set()
    async with Database.open(path) as database:
        inbox = Inbox(database)
        for number in range(300):
            async with database.transaction():
                await inbox.add(f"{number} {'x' * 10_000}")
            sizes.add(log.stat().st_size)

    assert 500_000 < max(sizes) < 1_200_000


async def test_a_file_system_without_shared_memory_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes | None
) -> None:
    monkeypatch.setattr(connection, "_SETTINGS", "PRAGMA journal_mode = DELETE;")

    with pytest.raises(StoreError, match="no write-ahead log there"):
        await open_and_close(path, key=key)


async def test_opening_may_be_cancelled_at_any_step(
    path: Path, key: bytes | None
) -> None:
    before = set(threading.enumerate())  # what an earlier test left may end meanwhile

    for steps in range(40):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(open_and_close(path, key=key))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            task.cancel()

    await open_and_close(path, key=key)
    for _ in range(3000):  # a thread ends a moment after its last answer
        if not (left := set(threading.enumerate()) - before):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"threads left: {left}")


async def test_errors_say_no_value(path: Path, key: bytes | None) -> None:
    async def write() -> None:
        async with Database.open(path, key=key) as database, database.transaction():
            for _ in range(2):
                await database.execute(
                    "INSERT INTO keys (key, text) VALUES (?, ?)", ("hunter2", "hunter2")
                )

    with pytest.raises(StoreError, match="UNIQUE constraint") as caught:
        await write()

    assert "hunter2" not in str(caught.value)


async def test_work_that_must_end_ends_and_hands_the_cancellation_on() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        await asyncio.sleep(0.01)
        steps.append("ended")

    async def caller() -> None:
        cancelled = await connection.to_the_end(work())
        assert isinstance(cancelled, asyncio.CancelledError)
        raise cancelled

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(caller())
        await asyncio.sleep(0)
        task.cancel()

    assert task.cancelled()
    assert steps == ["begun", "ended"]


async def test_work_that_fails_while_cancelled_is_a_cancellation_with_a_cause() -> None:
    causes: list[BaseException | None] = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        raise StoreError("full")

    async def caller() -> None:
        try:
            await connection.to_the_end(work())
        except asyncio.CancelledError as cancelled:
            causes.append(cancelled.__cause__)
            raise

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(caller())
        await asyncio.sleep(0)
        task.cancel()

    assert task.cancelled()
    assert [type(cause) for cause in causes] == [StoreError]
