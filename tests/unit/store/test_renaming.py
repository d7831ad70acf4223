"""A new name takes the place of an old one in all that is kept."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.store import (
    ContactRow,
    Contacts,
    Cursor,
    Cursors,
    Database,
    Inbox,
    Keys,
    Notes,
    Outbox,
    rename,
)

OLD, NEW = "a" * 56, "b" * 56


def change(column: str, text: str) -> str:
    return "event" if column == "event_json" else text.replace(OLD, NEW)


async def rows(database: Database) -> list[str]:
    tables = await database.fetch(
        "SELECT name FROM sqlite_master "
        "WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    )
    found: list[str] = []
    for table in tables:
        name = table["name"]
        content = await database.fetch(f"SELECT * FROM {name}")  # noqa: S608 - of our schema
        found += [str(tuple(row)) for row in content]
    return found


async def test_a_name_is_in_no_row_any_more(database: Database) -> None:
    async with database.transaction():
        await Keys(database).store(f"/trust/alice@{OLD}.onion/x", f'"{OLD}"')
        await Outbox(database).add(
            f"<a to='{OLD}'/>",
            to=f"a@{OLD}",
            message_id="1",
            readers={f"b@{OLD}": [1]},
        )
        await Outbox(database).add_job("bundle", f"a@{OLD}")
        await Inbox(database).add(f"an event of {OLD}")
        await Inbox(database).mark_seen(f"{OLD}/1")
        await Contacts(database).put([ContactRow(f"a@{OLD}", "both", ask=False)])
        at = datetime.now(UTC)
        await Cursors(database).move(f"muc.{OLD}", Cursor("1", at))
    await Notes(database).store(f"seen {OLD}", OLD)

    async with database.transaction():
        count = await rename(database, OLD, change)

    assert count == 8
    assert not any(OLD in row for row in await rows(database))


async def test_what_was_renamed_is_read_as_it_was(
    path: Path, key: bytes | None
) -> None:
    async with Database.open(path, key=key) as database:
        async with database.transaction():
            await Keys(database).store(f"/{OLD}", "1")
            await Outbox(database).add(f"<a to='{OLD}'/>", to=OLD, message_id="1")
        async with database.transaction():
            await rename(database, OLD, change)

    async with Database.open(path, key=key) as database:  # checks all checksums
        assert await Keys(database).load(f"/{NEW}") == "1"
        [row] = await Outbox(database).pending()
        assert (row.stanza_xml, row.to) == (f"<a to='{NEW}'/>", NEW)


async def test_what_was_known_of_the_new_name_gives_way(database: Database) -> None:
    async with database.transaction():
        for name, text in ((OLD, "kept"), (NEW, "given up")):
            await Keys(database).store(f"/{name}", text)

    async with database.transaction():
        await rename(database, OLD, change)

    found = await database.fetch("SELECT key, text FROM keys")
    assert [tuple(row) for row in found] == [(f"/{NEW}", "kept")]


async def test_what_waits_of_strangers_is_counted_as_before(database: Database) -> None:
    async with database.transaction():
        for number in range(3):
            row_id = await Inbox(database).add(f"event {number} of {OLD}")
            await database.execute(
                "UPDATE inbox SET stranger = ?, weight = 2 WHERE id = ?",
                (f"x@{OLD}", row_id),
            )

    async with database.transaction():
        await rename(database, OLD, change)

    found = await database.fetch("SELECT jid, weight FROM waiting ORDER BY jid")
    assert [tuple(row) for row in found] == [("", 6), (f"x@{NEW}", 6)]


async def test_nothing_is_renamed_outside_of_a_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError):
        await rename(database, OLD, change)
