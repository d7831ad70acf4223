"""One mark for each member of a room, which only goes forward, and no end of them."""

from xmpp_onion.store import Database, DeliveryRow, DeliveryRows, RoomMarks, Rooms

ROOM, OTHER = "friends@muc.x.onion", "others@muc.x.onion"
ALICE, BOB = "alice@x.onion", "bob@x.onion"


async def say(database: Database, *ids: str, room: str = ROOM) -> None:
    rows = DeliveryRows(database)
    async with database.transaction():
        for message_id in ids:
            row = DeliveryRow(message_id, room, 1, 0, (), "received")
            await rows.add(row)


async def test_a_mark_stands_for_what_was_said_before_and_only_goes_forward(
    database: Database,
) -> None:
    await say(database, "1", "2", "3")
    marks = RoomMarks(database)
    async with database.transaction():
        assert await marks.move(ROOM, BOB, "2")
        assert not await marks.move(ROOM, BOB, "2")
        assert not await marks.move(ROOM, BOB, "1")
        assert await marks.move(ROOM, ALICE, "1")

    assert await marks.who(ROOM, "1") == [ALICE, BOB]
    assert await marks.who(ROOM, "2") == [BOB]
    assert await marks.who(ROOM, "3") == []

    async with database.transaction():
        assert await marks.move(ROOM, BOB, "3")
    assert await marks.who(ROOM, "3") == [BOB]
    assert await marks.who(ROOM, "1") == [ALICE, BOB]


async def test_what_we_did_not_say_there_is_marked_by_nobody(
    database: Database,
) -> None:
    await say(database, "1")
    await say(database, "2", room=OTHER)
    marks = RoomMarks(database)
    async with database.transaction():
        assert not await marks.move(ROOM, BOB, "2")
        assert not await marks.move(ROOM, BOB, "unknown")
        assert await marks.move(OTHER, BOB, "2")

    assert await marks.who(ROOM, "1") == []
    assert await marks.who(ROOM, "2") == []
    assert await marks.who(OTHER, "2") == [BOB]


async def test_who_leaves_a_room_forgets_who_had_read_what_there(
    database: Database,
) -> None:
    await say(database, "1")
    marks = RoomMarks(database)
    async with database.transaction():
        await marks.move(ROOM, BOB, "1")
        await Rooms(database).remove(ROOM)

    assert await marks.who(ROOM, "1") == []


async def test_no_more_than_so_many_members_are_known(database: Database) -> None:
    await say(database, "1")
    marks = RoomMarks(database, limit=10)
    for number in range(30):
        async with database.transaction():
            await marks.move(ROOM, f"{number:02}@x.onion", "1")

    assert await marks.who(ROOM, "1") == [f"{n:02}@x.onion" for n in range(20, 30)]
