"""What strangers may cost; no connection is needed for that."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Undecryptable, read_event
from xmpp_onion.errors import StoreError
from xmpp_onion.store import ContactRow, Contacts, Database, Inbox
from xmpp_onion.strangers import Shares, Strangers

ONION = OnionAddress.from_public_key(hashlib.sha256(b"a server").digest())
OWN, FRIEND = JID(f"victim@{ONION}"), JID(f"friend@{ONION}")
MALLORY, EVE = JID(f"mallory@{ONION}/x"), JID(f"eve@{ONION}")
SMALL = Shares(of_one=5, of_all=8, burst=100, told_of_one=3, told_of_all=4)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "store.db") as opened:
        async with opened.transaction():
            await Contacts(opened).put([ContactRow(FRIEND, "both", ask=False)])
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def strangers(database: Database, clock: Clock) -> Strangers:
    return make(database, clock, SMALL)


def make(database: Database, clock: Clock, shares: Shares) -> Strangers:
    return Strangers(
        database,
        contacts=Contacts(database),
        own=OWN,
        news=asyncio.Event(),
        shares=shares,
        clock=clock,
    )


async def keep(
    database: Database, strangers: Strangers, jid: JID, size: int = 9
) -> int:
    async with database.transaction():
        row_id = await Inbox(database).add("x")
        await strangers.mark(jid, size)
    return row_id


async def opened(database: Database, strangers: Strangers, jid: JID, count: int) -> int:
    """Return how many of so many messages are opened; each of them then waits."""
    number = 0
    for _ in range(count):
        if await strangers.may_open(jid):
            await keep(database, strangers, jid)
            number += 1
    return number


async def told(database: Database) -> dict[JID, int]:
    events = [
        read_event(row.event_json)
        for row in await Inbox(database).pending()
        if row.event_json != "x"
    ]
    assert all(isinstance(event, Undecryptable) for event in events)
    return {e.sender: e.count for e in events if isinstance(e, Undecryptable)}


async def test_a_stranger_fills_his_share_and_takes_nothing_from_a_friend(
    database: Database, strangers: Strangers
) -> None:
    assert await opened(database, strangers, MALLORY, 1000) == 5
    assert await opened(database, strangers, EVE, 10) == 3  # all strangers' is full
    assert await opened(database, strangers, FRIEND, 50) == 50
    assert await opened(database, strangers, OWN, 50) == 50


async def test_room_comes_back_when_what_waits_is_read(
    database: Database, strangers: Strangers
) -> None:
    row_id = await keep(database, strangers, EVE, 4 * 1024)
    assert not await strangers.may_open(EVE)
    async with database.transaction():
        await Inbox(database).mark_handled(row_id)
    assert await strangers.may_open(EVE)


async def test_a_flood_that_is_read_at_once_is_bounded_too(
    database: Database, clock: Clock
) -> None:
    strangers = make(database, clock, replace(SMALL, burst=20, per_second=1.0))
    assert sum([await strangers.may_open(MALLORY) for _ in range(500)]) == 20
    assert await strangers.may_open(FRIEND)
    clock.now += 10
    assert sum([await strangers.may_open(MALLORY) for _ in range(500)]) == 10


async def test_what_was_not_opened_is_told_as_a_number(
    database: Database, strangers: Strangers
) -> None:
    await opened(database, strangers, MALLORY, 1005)

    assert await strangers.tell_rest()
    assert await told(database) == {MALLORY.bare: 1000}
    assert not await strangers.tell_rest()


async def test_a_flood_costs_one_transaction_for_many_messages(
    database: Database, strangers: Strangers
) -> None:
    await opened(database, strangers, MALLORY, 5)
    before, due = await database.generation(), 0
    for _ in range(1000):
        assert not await strangers.may_open(MALLORY)
        if strangers.is_due:
            due += 1
            async with database.transaction():
                await strangers.write_down()

    assert due <= 1000 // 64
    assert await database.generation() - before == due


async def test_no_number_is_lost_when_a_transaction_is_undone(
    database: Database, strangers: Strangers
) -> None:
    await opened(database, strangers, MALLORY, 8)

    async def fail() -> None:
        async with database.transaction():
            await strangers.write_down()
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    await strangers.tell_rest()
    assert await told(database) == {MALLORY.bare: 3}


@pytest.mark.parametrize("is_lost", [False, True])
async def test_no_number_is_lost_or_counted_twice_beside_what_is_undone(
    database: Database, strangers: Strangers, *, is_lost: bool
) -> None:
    await opened(database, strangers, MALLORY, 8)

    async def end_first() -> None:
        async with database.transaction(follow=lambda: True):
            await strangers.write_down()

    async def fail() -> None:
        async with database.transaction():
            assert not await strangers.may_open(MALLORY)
            await strangers.write_down()
            if is_lost:
                await database.execute("ROLLBACK")  # as SQLite may by itself
            await database.execute("INSERT INTO nowhere VALUES (1)")

    outcomes = await asyncio.gather(end_first(), fail(), return_exceptions=True)
    await strangers.tell_rest()

    kinds = [StoreError if is_lost else type(None), StoreError]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert await told(database) == {MALLORY.bare: 4}


async def test_what_an_earlier_process_counted_is_told(
    database: Database, strangers: Strangers, clock: Clock
) -> None:
    await opened(database, strangers, MALLORY, 8)
    async with database.transaction():
        await strangers.write_down()

    after = make(database, clock, SMALL)
    assert await after.tell_rest()
    assert await told(database) == {MALLORY.bare: 3}


async def test_unreadable_messages_are_told_one_by_one_and_then_as_a_number(
    database: Database, strangers: Strangers, clock: Clock
) -> None:
    mallorys = [await strangers.may_tell(MALLORY) for _ in range(10)]
    eves = [await strangers.may_tell(EVE) for _ in range(10)]
    friends = [await strangers.may_tell(FRIEND) for _ in range(150)]

    assert (sum(mallorys), sum(eves), sum(friends)) == (3, 1, 100)
    await strangers.tell_rest()
    assert await told(database) == {MALLORY.bare: 7, EVE: 9, FRIEND: 50}
    clock.now += 3600
    assert await strangers.may_tell(MALLORY)


async def test_strangers_share_what_may_be_fetched_for_them(
    database: Database, clock: Clock
) -> None:
    shares = replace(SMALL, fetches=5, fetches_per_hour=3600.0)
    strangers = make(database, clock, shares)
    assert sum([strangers.may_fetch() for _ in range(100)]) == 5
    clock.now += 2
    assert sum([strangers.may_fetch() for _ in range(100)]) == 2


async def test_numbers_wait_while_nobody_reads_what_strangers_sent(
    database: Database, strangers: Strangers
) -> None:
    await keep(database, strangers, MALLORY, 20 * 1024)
    assert not await strangers.may_open(EVE)
    for _ in range(3):
        assert await strangers.tell_rest()  # it is counted on
    assert await told(database) == {}
