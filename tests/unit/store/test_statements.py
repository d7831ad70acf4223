"""What is written together goes to SQLite together, and waits in its thread alone."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec

import pytest
import sqlcipher3

from xmpp_onion.errors import StoreError
from xmpp_onion.store import (
    Database,
    DeliveryRow,
    DeliveryRows,
    Inbox,
    Keys,
    RoomNames,
    statements,
)
from xmpp_onion.store.connection import connect
from xmpp_onion.store.statements import Connection, Statement, UndoneError

P = ParamSpec("P")

PUT = "INSERT INTO keys (key, text) VALUES (?, ?)"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What went to SQLite: the statements of each call."""
    seen: list[list[str]] = []
    run = Connection.run

    async def note(
        connection: Connection,
        statements: Iterable[Statement],
        *,
        is_inside: bool,
        is_short: bool = False,
    ) -> list[sqlite3.Row]:
        statements = [*statements]
        seen.append([sql.split(" ", 1)[0] for sql, *_ in statements])
        return await run(connection, statements, is_inside=is_inside, is_short=is_short)

    monkeypatch.setattr(Connection, "run", note)
    return seen


async def test_a_transaction_that_only_writes_makes_one_call(
    database: Database, calls: list[list[str]]
) -> None:
    keys = Keys(database)
    await keys.load("what is there")
    calls.clear()

    async with database.transaction():
        for number in range(100):
            await keys.store(f"key {number}", "text")
        await database.execute("DELETE FROM jobs")

    assert calls == [["BEGIN", "DELETE", "INSERT", "UPDATE", "COMMIT"]]
    assert await keys.load("key 99") == "text"


async def test_what_nobody_asks_the_number_of_makes_no_call_of_its_own(
    database: Database, calls: list[list[str]]
) -> None:
    inbox, names = Inbox(database), RoomNames(database)
    delivery = DeliveryRow("id", "room", 2, 0, (), "queued")

    async with database.transaction():
        await inbox.mark_seen("key")
        await names.add("room", "stanza", "id", "sender")
        await DeliveryRows(database).add(delivery)
        await inbox.put("an event")

    assert len(calls) == 1
    assert await inbox.is_seen("key")
    assert await DeliveryRows(database).load("id") == delivery
    [event] = await inbox.pending()
    assert event.event_json == "an event"


async def test_a_transaction_that_does_nothing_makes_no_call(
    database: Database, calls: list[list[str]]
) -> None:
    async with database.transaction():
        pass

    assert calls == []


async def test_what_is_read_sees_what_was_written_before_it(
    database: Database,
) -> None:
    async with database.transaction():
        await database.execute(PUT, ("key", "text"))
        await database.execute_many(PUT, [("one", "1"), ("two", "2")])
        rows = await database.fetch("SELECT count(*) FROM keys")
        first = await Inbox(database).add("a row with a number")
        second = await Inbox(database).add("the next one")

    assert rows[0][0] == 3
    assert second == first + 1


async def test_a_write_that_fails_comes_out_at_the_end_and_undoes_all(
    database: Database,
) -> None:
    async def work() -> None:
        async with database.transaction():
            await database.execute(PUT, ("key", "text"))
            await database.execute(PUT, ("key", "the same again"))

    with pytest.raises(StoreError, match="UNIQUE"):
        await work()

    assert await Keys(database).load("key") is None


async def test_a_failure_that_is_swallowed_is_not_called_success(
    database: Database,
) -> None:
    async def work() -> None:
        async with database.transaction():
            await database.execute(PUT, ("key", "text"))
            await database.execute(PUT, ("key", "the same again"))
            await database.execute(PUT, ("later", "never run"))
            with suppress(StoreError):
                await database.fetch("SELECT * FROM keys")

    with pytest.raises(StoreError, match="not written"):
        await work()

    assert await Keys(database).load("key") is None


async def test_nothing_is_read_any_more_after_a_failure_that_is_swallowed(
    database: Database,
) -> None:
    reached = []

    async def work() -> None:
        async with database.transaction():
            with suppress(StoreError):
                await database.fetch("SELECT * FROM nothing")
            await database.fetch("SELECT * FROM keys")
            reached.append(True)

    with pytest.raises(StoreError, match="not written"):
        await work()

    assert not reached


async def test_what_should_be_inside_of_a_transaction_never_runs_without_one(
    database: Database, path: Path, key: bytes | None
) -> None:
    async with connect(path, mode="rw", key=key) as connection:
        with pytest.raises(UndoneError):
            await connection.run([Statement(PUT, (("a", "b"),))], is_inside=True)

    assert await Keys(database).load("a") is None


async def test_one_statement_for_no_values_changes_nothing(
    database: Database,
) -> None:
    async with database.transaction():
        await database.execute_many(PUT, [])

    assert await database.fetch("SELECT * FROM keys") == []


# --- where it is run --------------------------------------------------------------


@pytest.fixture
def waits(
    database: Database,  # noqa: ARG001 - opened before it is counted
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """What SQLite's thread was asked to do."""
    asked: list[str] = []
    execute = Connection._execute

    async def note(
        connection: Connection,
        fn: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> object:
        asked.append(fn.__name__)
        return await execute(connection, fn, *args, **kwargs)

    monkeypatch.setattr(Connection, "_execute", note)
    return asked


async def test_what_is_found_by_its_key_is_found_at_once(
    database: Database, waits: list[str]
) -> None:
    assert not await Inbox(database).is_seen("key")

    async with database.transaction():
        await Inbox(database).add("its number is asked for")
        assert waits == []


async def test_only_the_commit_of_a_transaction_waits_for_the_disk(
    database: Database, waits: list[str]
) -> None:
    async def put(text: str, *, is_followed: bool) -> None:
        async with database.transaction(follow=lambda: is_followed):
            await Inbox(database).put(text)

    await asyncio.gather(put("one", is_followed=True), put("two", is_followed=False))

    assert waits == ["_run"]
    assert len(await Inbox(database).pending()) == 2


async def test_much_is_not_written_where_everybody_waits(
    database: Database, waits: list[str]
) -> None:
    async with database.transaction():
        await database.execute_many(PUT, [(f"{n}", "") for n in range(statements._FEW)])
        await Inbox(database).add("an event")

        assert waits == ["_run"]


async def test_nothing_overtakes_what_runs_in_the_thread(database: Database) -> None:
    connection = database._connection
    go, ran = threading.Event(), []

    def linger() -> None:
        ran.append(go.wait(60))

    async def look() -> None:
        await connection.run([Statement("SELECT 1")], is_inside=False, is_short=True)
        ran.append(False)

    async with asyncio.TaskGroup() as tasks:
        lingering = tasks.create_task(connection._execute(linger))
        await asyncio.sleep(0)
        tasks.create_task(look())
        await asyncio.sleep(0)
        lingering.cancel()  # who waits may go, and it still runs
        await asyncio.sleep(0)
        assert ran == []
        go.set()

    assert ran == [True, False]


async def test_the_loop_does_not_wait_for_another_program(
    database: Database, key: bytes | None
) -> None:
    other = sqlcipher3.connect(database.path, isolation_level=None)
    if key is not None:
        other.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    other.execute("BEGIN IMMEDIATE")

    async def put() -> None:
        async with database.transaction():
            await Inbox(database).add("an event")

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(put())
        while database._connection._asked == database._connection._done:  # noqa: ASYNC110 - nothing tells that it waits
            await asyncio.sleep(0)
        assert not putting.done()
        other.execute("ROLLBACK")
        other.close()

    assert len(await Inbox(database).pending()) == 1
