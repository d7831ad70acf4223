"""Both names of a message in a room, and the first word on each."""

from xmpp_onion.store import Database, Inbox, RoomNames

ROOM, ALICE, BOB = "friends@muc.x.onion", "alice@x.onion", "bob@x.onion"


async def test_the_first_word_on_a_name_counts(database: Database) -> None:
    names = RoomNames(database)
    async with database.transaction():
        await names.add(ROOM, "1", "of alice", ALICE)
        await names.add(ROOM, "1", "another", BOB)  # a room that names it again
        await names.add(ROOM, "2", "of alice", BOB)  # a member who takes its id

    assert await names.find_message(ROOM, "1") == "of alice"
    assert await names.find_stanza(ROOM, "of alice") == "1"
    assert await names.find_stanza(ROOM, "of alice", BOB) == "2"
    assert await names.find_stanza("other@muc.x.onion", "of alice") == ""
    assert await names.find_message(ROOM, "3") == ""


async def test_no_more_than_so_many_are_kept(database: Database) -> None:
    names = RoomNames(database, limit=10)
    for number in range(30):
        async with database.transaction():
            await names.add(ROOM, f"s{number}", f"m{number}", ALICE)

    known = [await names.find_message(ROOM, f"s{number}") for number in range(30)]
    assert [each for each in known if each] == [
        f"m{number}" for number in range(20, 30)
    ]


async def test_a_name_that_is_said_again_makes_nothing_forgotten(
    database: Database,
) -> None:
    names = RoomNames(database, limit=10)
    async with database.transaction():
        await names.add(ROOM, "1", "m1", ALICE)
        for number in range(30):
            await Inbox(database).add(f"the newest row of all {number}")

    async with database.transaction():
        await names.add(ROOM, "1", "m1", ALICE)

    assert await names.find_message(ROOM, "1") == "m1"
