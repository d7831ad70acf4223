"""Rows against rotten bits: as they were written, or the store says it is damaged."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmpp_onion.errors import StoreCorruptError
from xmpp_onion.store import (
    ContactRow,
    Contacts,
    Cursor,
    Cursors,
    Database,
    DeliveryRow,
    DeliveryRows,
    Inbox,
    Keys,
    MemberRow,
    Outbox,
    Owed,
    OwedRow,
    Requests,
    RoomRow,
    Rooms,
    SetAside,
    Strangers,
    WaitingRow,
    reading,
    schema,
)
from xmpp_onion.store.rows import CHECKED

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
WHO = "juliet@capulet.example"
ROOM = "balcony@rooms.capulet.example"
KEY_TEXT = '{"signed": "1 2 AAAA", "next": 4, "offered": []}'


async def _read_keys(database: Database) -> object:
    return await Keys(database).load("/place")


async def _read_set_aside(database: Database) -> object:
    return await SetAside(database).first(WHO)


async def _read_delivery(database: Database) -> object:
    return await DeliveryRows(database).load("m1")


async def _read_tallies(database: Database) -> object:
    async with database.transaction():
        return await Strangers(database).take_tallies("lost")


# What reads each table, and the columns of text that a bit is flipped in.
READERS: dict[str, tuple[tuple[str, ...], Callable[[Database], Awaitable[object]]]] = {
    "keys": (("text",), _read_keys),
    "inbox": (("event_json", "added_at"), lambda db: Inbox(db).pending()),
    "outbox": (
        ("stanza_xml", "recipient", "message_id", "added_at", "readers"),
        lambda db: Outbox(db).pending(),
    ),
    "set_aside": (("stanza_xml", "stanza_id", "at", "since"), _read_set_aside),
    "requests": (("jid", "at"), lambda db: Requests(db).all()),
    "rooms": (("jid", "nick"), lambda db: Rooms(db).all()),
    "room_members": (("jid", "affiliation"), lambda db: Rooms(db).members(ROOM)),
    "invitations": (("inviter", "at"), lambda db: Rooms(db).invitations()),
    "cursors": (("last_id", "at"), lambda db: Cursors(db).load(WHO)),
    "deliveries": (("recipient", "skipped"), _read_delivery),
    "contacts": (("jid", "subscription"), lambda db: Contacts(db).all()),
    "owed": (("recipient", "message_id"), lambda db: Owed(db).first()),
    "tallies": (("jid",), _read_tallies),
}


async def _fill(database: Database) -> None:
    async with database.transaction():
        await Keys(database).store("/place", KEY_TEXT)
        await Inbox(database).add('{"kind": "message", "text": "o Romeo"}')
        await Outbox(database).add(
            "<message/>", to=ROOM, message_id="m1", readers={WHO: [1, 2]}
        )
        await SetAside(database).add(
            WaitingRow("key", WHO, "<message/>", "s1", NOW, NOW, is_stranger=False)
        )
        await Requests(database).add(WHO, told=False)
        await Rooms(database).put(RoomRow(ROOM, "me"))
        await Rooms(database).put_members(ROOM, [MemberRow(WHO, "member")])
        await Rooms(database).add_invitation(ROOM, WHO, NOW)
        await Cursors(database).move(WHO, Cursor("last", NOW))
        await DeliveryRows(database).add(
            DeliveryRow("m1", WHO, 2, 0, ("device 3",), "queued")
        )
        await Contacts(database).put([ContactRow(WHO, "both", ask=False)])
        await Owed(database).add(OwedRow(WHO, "m1"))
        await Strangers(database).count("lost", WHO)


def _damage(
    path: Path, table: str, column: str, change: "Callable[[bytes], bytes]"
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        sql = f"SELECT CAST({column} AS BLOB) FROM {table} ORDER BY rowid LIMIT 1"  # noqa: S608 - names of this file
        [value] = connection.execute(sql).fetchone()
        connection.execute(
            f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE rowid = 1",  # noqa: S608 - names of this file
            (change(value),),
        )
        connection.commit()


async def _read_damaged(
    table: str, column: str, change: "Callable[[bytes], bytes]"
) -> object:
    """Return what is read from a damaged table; None: it says that it is damaged."""
    read = READERS[table][1]
    with TemporaryDirectory() as folder:
        path = Path(folder, "account.db")
        async with Database.open(path) as database:
            await _fill(database)
            _damage(path, table, column, change)  # while it is open: none was read yet
            try:
                return await read(database)
            except StoreCorruptError as error:
                if "backup" not in error.fix:
                    raise
                return None


CELLS = st.sampled_from(
    [(table, column) for table, (columns, _) in READERS.items() for column in columns]
)


@given(cell=CELLS, place=st.integers(0), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
async def test_a_flipped_bit_is_no_raw_error_and_no_other_device_or_author(
    cell: tuple[str, str], place: int, bit: int
) -> None:
    table, column = cell

    def flip(value: bytes) -> bytes:
        changed = bytearray(value)
        changed[place % len(value)] ^= 1 << bit
        return bytes(changed)

    after = await _read_damaged(table, column, flip)

    assert table not in CHECKED or after is None


@given(cell=CELLS, start=st.integers(0), length=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
async def test_a_part_that_is_gone_is_no_raw_error_either(
    cell: tuple[str, str], start: int, length: int
) -> None:
    table, column = cell

    def cut(value: bytes) -> bytes:
        place = start % len(value)
        return value[:place] + value[place + length :]

    after = await _read_damaged(table, column, cut)

    assert table not in CHECKED or after is None


async def test_a_row_of_before_gets_its_checksum_with_the_next_change(
    path: Path,
) -> None:
    async with (
        Database.open(path, migrations=schema.MIGRATIONS[:11]) as database,
        database.transaction(),
    ):
        await database.execute("INSERT INTO keys (key, text) VALUES ('old', '{}')")

    async with Database.open(path) as database:
        keys = Keys(database)
        assert await keys.load("old") == "{}"
        async with database.transaction():
            await keys.store("new", "1")
        assert await keys.load("old") == "{}"
    _damage(path, "keys", "text", lambda _: b"[]")

    with pytest.raises(StoreCorruptError):
        async with Database.open(path):
            pass


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table, columns in CHECKED.items() for column in columns],
)
async def test_a_damaged_row_is_noticed_before_anything_is_written(
    path: Path, table: str, column: str
) -> None:
    async with Database.open(path) as database:
        await _fill(database)
    _damage(path, table, column, lambda value: value[:-1] + b"~")
    before = path.read_bytes()  # noqa: ASYNC240 - nothing else runs

    with pytest.raises(StoreCorruptError, match=table):
        async with Database.open(path):
            pass

    assert path.read_bytes() == before  # noqa: ASYNC240 - nothing else runs


async def test_another_recipient_is_noticed_before_bytes_are_revised(
    path: Path,
) -> None:
    async with Database.open(path) as database:
        await _fill(database)
        _damage(path, "outbox", "recipient", lambda _: b"romeo@montague.example")

        with pytest.raises(StoreCorruptError):
            async with database.transaction():
                await Outbox(database).revise(1, "<message id='2'/>")


async def test_revised_bytes_are_read_again(database: Database) -> None:
    await _fill(database)
    async with database.transaction():
        await Outbox(database).revise(1, "<message id='2'/>")
        await Outbox(database).revise(1, "<message id='3'/>", {WHO: [2]})

    [row] = await Outbox(database).pending()

    assert (row.stanza_xml, row.readers) == ("<message id='3'/>", {WHO: (2,)})


def test_what_is_said_of_a_damaged_row_quotes_nothing_of_it(path: Path) -> None:
    with pytest.raises(StoreCorruptError) as caught, reading(path, "inbox"):
        int("hunter2")

    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
