"""How far each archive has been taken in."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.store import Cursor, Cursors, Database, Inbox, schema

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


async def test_an_archive_that_was_never_looked_into_has_no_cursor(
    database: Database,
) -> None:
    assert await Cursors(database).load("alice@example") is None


async def test_each_archive_has_a_cursor_of_its_own(database: Database) -> None:
    cursors = Cursors(database)
    async with database.transaction():
        await cursors.move("alice@example", Cursor("7", AT))
        await cursors.move("room@example", Cursor("1", AT))
        await cursors.move("alice@example", Cursor("8", AT))

    assert await cursors.load("alice@example") == Cursor("8", AT)
    assert await cursors.load("room@example") == Cursor("1", AT)


async def test_a_cursor_and_its_message_reach_the_disk_together_or_not_at_all(
    database: Database,
) -> None:
    cursors, inbox = Cursors(database), Inbox(database)

    async def interrupted() -> None:
        async with database.transaction():
            await inbox.add("{}")
            await cursors.move("alice@example", Cursor("7", AT))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await interrupted()

    assert await cursors.load("alice@example") is None
    assert await inbox.pending() == []


async def test_a_cursor_moves_inside_a_transaction_alone(database: Database) -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        await Cursors(database).move("alice@example", Cursor("7", AT))


async def test_a_file_from_before_archives_gets_its_cursors(path: Path) -> None:
    first = schema.MIGRATIONS[:1]
    async with (
        Database.open(path, migrations=first) as database,
        database.transaction(),
    ):
        await database.execute(
            "INSERT INTO inbox (event_json, added_at) VALUES (?, ?)",
            ("an older event", AT.isoformat()),
        )

    async with Database.open(path) as database:
        assert await Cursors(database).load("alice@example") is None
        assert len(await Inbox(database).pending()) == 1
