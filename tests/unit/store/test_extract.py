"""What of a store goes along to another machine, and what must not."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from xmpp_onion.errors import StoreCorruptError, StoreKeyError, StoreTooNewError
from xmpp_onion.store import (
    Database,
    Inbox,
    Keys,
    Notes,
    Outbox,
    read_rows,
    schema,
    write_rows,
)
from xmpp_onion.store.extract import LEFT_OUT, MOVED

NOW = json.dumps({"format": len(schema.MIGRATIONS)})


async def lines_of(path: Path) -> list[str]:
    rows = read_rows(path, None, keeps=lambda key: not key.startswith("/session"))
    return [line async for line in rows]


async def fill(path: Path) -> None:
    async with Database.open(path) as database:
        keys, outbox, inbox = Keys(database), Outbox(database), Inbox(database)
        async with database.transaction():
            await keys.store("/ikp/key", '"canary"')
            await keys.store("/session/1", '"ratchet"')
            await inbox.put('{"unread": "ä\\u0000"}')
            await inbox.mark_seen("seen")
            await outbox.add("<message/>", to="a@b", message_id="1")
        await Notes(database).store("note", "x")


async def test_each_table_is_taken_along_or_left_out_on_purpose(
    tmp_path: Path,
) -> None:
    async with Database.open(tmp_path / "store") as database:
        rows = await database.fetch(
            "SELECT name FROM sqlite_schema WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%'"
        )

    assert {row["name"] for row in rows} == {*MOVED, *LEFT_OUT}
    assert not LEFT_OUT & {*MOVED}


async def test_what_is_taken_along_is_there_and_the_rest_is_not(
    tmp_path: Path,
) -> None:
    await fill(tmp_path / "store")
    lines = await lines_of(tmp_path / "store")
    await write_rows(tmp_path / "there", None, lines)

    assert not [line for line in lines if "ratchet" in line or "<message/>" in line]
    async with Database.open(tmp_path / "there", create=False) as database:
        keys, inbox = Keys(database), Inbox(database)
        assert await keys.names("") == ["/ikp/key"]
        assert await keys.load("/ikp/key") == '"canary"'
        (event,) = await inbox.pending()
        assert event.event_json == '{"unread": "ä\\u0000"}'
        assert not await inbox.is_seen("seen")
        assert await Outbox(database).pending() == []
        assert await Notes(database).load("note") == "x"


async def test_a_copy_has_a_name_and_a_count_of_its_own(tmp_path: Path) -> None:
    await fill(tmp_path / "store")
    await write_rows(tmp_path / "there", None, await lines_of(tmp_path / "store"))
    names = set()
    for name in ("store", "there"):
        async with Database.open(tmp_path / name, witness=tmp_path / "state") as found:
            names.add(found.progress.store_id)
            assert not found.progress.is_rolled_back

    assert len(names) == 2


async def test_a_store_that_is_in_use_is_read_as_it_was_at_one_moment(
    tmp_path: Path,
) -> None:
    await fill(tmp_path / "store")
    async with Database.open(tmp_path / "store") as database:
        rows = read_rows(tmp_path / "store", None, keeps=lambda _: True)
        lines = [await anext(rows), await anext(rows)]
        await Notes(database).store("later", "y")
        lines += [line async for line in rows]

    assert not [line for line in lines if "later" in line]


async def test_rows_of_an_older_format_are_brought_to_the_newest(
    tmp_path: Path,
) -> None:
    older = schema.MIGRATIONS[:-1]
    row = {"table": "timers", "row": {"jid": "a@b", "seconds": 5}}
    await write_rows(
        tmp_path / "there", None, [json.dumps({"format": len(older)}), json.dumps(row)]
    )

    async with Database.open(tmp_path / "there", create=False) as database:
        (found,) = await database.fetch("SELECT * FROM timers")
    assert tuple(found) == ("a@b", 5)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["not json"],
        [NOW, '{"table": "outbox", "row": {}}'],
        [NOW, '{"table": "keys", "row": {"no_such": 1}}'],
        [NOW, '{"table": "keys", "row": [1]}'],
        [NOW, "[]"],
        ['{"format": "x"}'],
    ],
)
async def test_what_no_export_holds_is_refused(
    tmp_path: Path, lines: Iterable[str]
) -> None:
    with pytest.raises(StoreCorruptError):
        await write_rows(tmp_path / "there", None, lines)


async def test_a_newer_export_and_an_older_store_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreTooNewError):
        await write_rows(tmp_path / "there", None, ['{"format": 1000}'])
    async with Database.open(tmp_path / "old", migrations=schema.MIGRATIONS[:-1]):
        pass
    with pytest.raises(StoreTooNewError, match="has another format"):
        await lines_of(tmp_path / "old")
    with pytest.raises(StoreKeyError):
        await anext(read_rows(tmp_path / "old", bytes(32), keeps=bool))
