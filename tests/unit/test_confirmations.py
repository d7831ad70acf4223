"""That a message arrived: told to who may know, once, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.confirmations import Confirmations
from xmpp_onion.store import Database, Owed, OwedRow

ONION = OnionAddress.from_public_key(bytes(32))
BOB, MALLORY = JID(f"bob@{ONION}"), JID(f"mallory@{ONION}")


class Mouth:
    """Says what is owed, settles it, and keeps what was said."""

    def __init__(self, database: Database, *, friends: frozenset[JID]) -> None:
        self.ready = asyncio.Event()
        self.friends = friends
        self.said: list[tuple[JID, str]] = []
        self.can_say = True
        self.database = database
        self.confirmations = Confirmations(
            database, lambda jid: jid in self.friends, self.ready
        )

    async def owe(self, *ids: str, to: JID = BOB) -> None:
        async with self.database.transaction():
            for message_id in ids:
                await self.confirmations.owe(JID(f"{to}/phone"), message_id)

    async def say(self, to: JID, message_id: str) -> bool:
        if not self.can_say:
            return False
        async with self.database.transaction():
            await self.confirmations.settle(to, message_id)
        self.said.append((to, message_id))
        return True

    async def until_nothing_is_owed(self) -> None:
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
            running = tasks.create_task(self.confirmations.run(self.say))
            while await Owed(self.database).first():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            running.cancel()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "account" / "store.db") as database:
        yield database


@pytest.fixture
def mouth(database: Database) -> Mouth:
    return Mouth(database, friends=frozenset({BOB}))


async def test_friends_are_told_once_each_in_order_and_nobody_else(
    mouth: Mouth,
) -> None:
    mouth.ready.set()
    await mouth.owe("m1", "m2", "m1", "")
    await mouth.owe("m3", to=MALLORY)
    await mouth.until_nothing_is_owed()

    assert mouth.said == [(BOB, "m1"), (BOB, "m2")]


async def test_what_a_dead_process_owed_is_told_by_the_next(mouth: Mouth) -> None:
    await mouth.owe("m1")

    after = Mouth(mouth.database, friends=mouth.friends)
    after.ready.set()
    await after.until_nothing_is_owed()

    assert after.said == [(BOB, "m1")]


async def test_nothing_is_told_before_we_know_whom_and_what_was_answered(
    mouth: Mouth,
) -> None:
    await mouth.owe("m1", "m2")
    friends, mouth.friends = mouth.friends, frozenset()  # as after a start
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        running = tasks.create_task(mouth.confirmations.run(mouth.say))
        for _ in range(20):  # whatever it would ask the disk first is answered
            await Owed(mouth.database).first()
        assert mouth.said == []
        mouth.friends = friends
        async with mouth.database.transaction():  # another device of ours said it
            await mouth.confirmations.settle(BOB, "m1")
        mouth.ready.set()
        while await Owed(mouth.database).first():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        running.cancel()

    assert mouth.said == [(BOB, "m2")]


async def test_who_is_a_friend_no_more_and_who_cannot_be_told_are_not_told(
    mouth: Mouth,
) -> None:
    mouth.ready.set()
    await mouth.owe("m1")
    mouth.friends = frozenset()
    await mouth.until_nothing_is_owed()
    mouth.friends, mouth.can_say = frozenset({BOB}), False
    await mouth.owe("m2")
    await mouth.until_nothing_is_owed()

    assert mouth.said == []


async def idle(database: Database) -> None:
    """Commit so often that whoever wants to look had a turn."""
    for _ in range(20):
        async with database.transaction():
            await database.fetch("SELECT 1")


async def test_nobody_looks_after_what_owes_nothing_or_was_undone(
    mouth: Mouth, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = 0, Owed.first

    async def counted(self: Owed) -> OwedRow | None:
        nonlocal looks
        looks += 1
        return await look(self)

    monkeypatch.setattr(Owed, "first", counted)
    mouth.ready.set()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        running = tasks.create_task(mouth.confirmations.run(mouth.say))
        await mouth.owe("m1")
        while not mouth.said:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        await idle(mouth.database)
        before = looks
        with suppress(KeyError):
            async with mouth.database.transaction():
                await mouth.confirmations.owe(BOB, "undone")
                raise KeyError
        await idle(mouth.database)
        after = looks
        await mouth.owe("m2")
        while len(mouth.said) < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        running.cancel()

    assert mouth.said == [(BOB, "m1"), (BOB, "m2")]
    assert before <= 4  # at the start, for m1, and when that was said
    assert after == before
