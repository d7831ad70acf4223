import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import NotAcknowledgedError
from xmpp_onion.hopes import Hopes
from xmpp_onion.session import message_stanza
from xmpp_onion.store import Database, Outbox

if TYPE_CHECKING:
    from xmpp_onion.e2ee import Omemo
    from xmpp_onion.session import Session

ONION = OnionAddress.from_public_key(bytes(32))
BOB, ROOM = JID(f"bob@{ONION}"), JID(f"room@muc.{ONION}")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Line:
    """Stands in for a session that takes what is given, and acknowledges nothing."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.carried: set[str] = set()
        self.futures: list[asyncio.Future[None]] = []

    def send(self, xml: str, message_id: str) -> asyncio.Future[None]:
        self.carried.add(xml)
        self.sent.append(message_id)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def under_way(self) -> frozenset[str]:
        return frozenset(self.carried)

    def fail(self) -> None:
        self.carried.clear()
        for one in self.futures:
            one.set_exception(NotAcknowledgedError("the login failed"))
            one.exception()
        self.futures.clear()


class Policy:
    """Stands in for what knows the policies."""

    is_other = False

    @property
    def policies(self) -> "Policy":
        return self

    async def has_changed(self) -> bool:
        return self.is_other


class World:
    def __init__(self, database: Database) -> None:
        self.database, self.outbox = database, Outbox(database)
        self.line, self.policy = Line(), Policy()
        self.hopes = Hopes(
            database,
            self.outbox,
            cast("Session", self.line),
            cast("Omemo", self.policy),
        )

    async def keep(
        self, name: str, *, to: JID = BOB, until: datetime | None = None
    ) -> int:
        readers = {str(BOB): [1]} if to == ROOM else None
        xml = message_stanza(to, name, [], is_room=to == ROOM)
        async with self.database.transaction():
            return await self.outbox.add(
                xml, to=to, message_id=name, readers=readers, expires_at=until
            )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Database.open(tmp_path / "store.sqlite3", create=True) as database:
        yield World(database)


async def test_the_oldest_messages_to_people_go_along_in_their_order(
    world: World,
) -> None:
    for name in ("one", "two", "three"):
        await world.keep(name)
    await world.hopes.give(NOW)
    assert world.line.sent == ["one", "two", "three"]


async def test_what_has_to_be_looked_at_again_stays(world: World) -> None:
    await world.keep("for a room", to=ROOM)
    await world.keep("too late", until=NOW)
    await world.keep("in time", until=NOW + timedelta(hours=1))
    await world.hopes.give(NOW)
    assert world.line.sent == ["in time"]


async def test_nothing_goes_along_where_the_policy_is_another_one(
    world: World,
) -> None:
    await world.keep("for a device that may be refused now")
    world.policy.is_other = True
    await world.hopes.give(NOW)
    assert world.line.sent == []


async def test_what_is_given_is_given_once_until_that_fails(world: World) -> None:
    row = await world.keep("one")
    await world.hopes.give(NOW)
    await world.hopes.give(NOW)  # a resumption that is tried again
    assert world.line.sent == ["one"]
    world.line.fail()
    assert world.hopes.take(row) is None
    await world.hopes.give(NOW)
    assert world.line.sent == ["one", "one"]
    assert world.hopes.take(row) is world.line.futures[0]
    assert world.hopes.take(row) is None


async def test_what_a_stream_that_may_be_resumed_carries_is_not_given_again(
    world: World,
) -> None:
    row = await world.keep("one")
    await world.keep("two")
    (kept, _) = await world.outbox.pending(limit=2)
    world.line.carried.add(kept.stanza_xml)

    await world.hopes.give(NOW)

    assert world.line.sent == ["two"]
    assert world.hopes.take(row) is None


async def test_a_first_flight_takes_along_so_many_and_no_more(world: World) -> None:
    for number in range(40):
        await world.keep(str(number))
    await world.hopes.give(NOW)
    assert len(world.line.sent) == 32
