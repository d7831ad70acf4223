"""What is written together goes to SQLite's thread together, or not at all."""

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from xmpp_onion.errors import StoreError
from xmpp_onion.store import (
    Database,
    DeliveryRow,
    DeliveryRows,
    Inbox,
    Keys,
    RoomNames,
)
from xmpp_onion.store.connection import connect
from xmpp_onion.store.statements import Connection, Statement, UndoneError

PUT = "INSERT INTO keys (key, text) VALUES (?, ?)"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What went to the thread: the statements of each call."""
    seen: list[list[str]] = []
    run = Connection.run

    async def note(
        connection: Connection, statements: Iterable[Statement], *, is_inside: bool
    ) -> list[sqlite3.Row]:
        statements = [*statements]
        seen.append([sql.split(" ", 1)[0] for sql, *_ in statements])
        return await run(connection, statements, is_inside=is_inside)

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
