from xmpp_onion.store import Database, Requests


async def test_requests_wait_once_each_in_their_order(database: Database) -> None:
    requests = Requests(database)
    async with database.transaction():
        for name in ("b", "a", "b"):
            await requests.add(f"{name}@x.onion", told=name == "a")

    assert [row.jid for row in await requests.all()] == ["b@x.onion", "a@x.onion"]
    assert await requests.untold() == 1
    async with database.transaction():
        await requests.mark_told()
    assert await requests.untold() == 0


async def test_an_account_or_a_whole_server_is_taken_out(database: Database) -> None:
    requests = Requests(database)
    async with database.transaction():
        for jid in ("a@x.onion", "b@x.onion", "a@y.onion", "a@sub.x.onion"):
            await requests.add(jid, told=True)
        await requests.remove("b@x.onion")
        assert len(await requests.all()) == 3
        await requests.remove("x.onion")

    left = [row.jid for row in await requests.all()]
    assert left == ["a@y.onion", "a@sub.x.onion"]


async def test_the_number_of_those_left_out_is_kept(database: Database) -> None:
    assert await Requests(database).left_out() == 0
    async with database.transaction():
        await Requests(database).set_left_out(9800)
    assert await Requests(database).left_out() == 9800
