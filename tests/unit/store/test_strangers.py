from xmpp_onion.store import Database, Inbox, Strangers, Tally

EVE, MALLORY = "eve@x.onion", "mallory@x.onion"


async def test_what_waits_of_strangers_is_counted_while_it_waits(
    database: Database,
) -> None:
    strangers, inbox = Strangers(database), Inbox(database)
    async with database.transaction():
        for jid, weight in ((EVE, 1), (EVE, 5), (MALLORY, 2)):
            await inbox.put("text")
            await strangers.mark(jid, weight)
        await inbox.put("a contact's")
    rows = [row.id for row in await inbox.pending()]
    assert await strangers.weights(EVE) == (6, 8)
    assert [await strangers.weight(jid) for jid in (EVE, MALLORY, "")] == [6, 2, 8]

    async with database.transaction():
        await inbox.mark_handled(rows[1])
        await inbox.mark_handled(rows[2])
        await inbox.mark_handled(rows[3])
    assert [await strangers.weight(jid) for jid in (EVE, MALLORY, "")] == [1, 0, 1]

    async with database.transaction():
        await inbox.mark_handled(rows[0])
    assert await database.fetch("SELECT * FROM waiting") == []


async def test_tallies_add_up_and_are_taken_once(database: Database) -> None:
    strangers = Strangers(database)
    async with database.transaction():
        await strangers.count("a", EVE)
        await strangers.count("a", EVE, 4)
        await strangers.count("b", EVE)
        await strangers.count("c", EVE)
    async with database.transaction():
        found = await strangers.take_tallies("a", "b")
        assert await strangers.take_tallies("a", "b") == []

    assert found == [Tally("a", EVE, 5), Tally("b", EVE, 1)]


async def test_so_many_are_counted_by_name_and_the_rest_as_one(
    database: Database,
) -> None:
    strangers = Strangers(database)
    async with database.transaction():
        for number in range(1000):
            await strangers.count("a", f"stranger{number}@x.onion")
        await strangers.count("a", "stranger7@x.onion")
        found = await strangers.take_tallies("a")

    assert len(found) == 201
    assert found[0] == Tally("a", "", 800)
    assert Tally("a", "stranger7@x.onion", 2) in found
