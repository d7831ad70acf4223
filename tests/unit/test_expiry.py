"""What has had its time is erased: from the disk, too, and after a restart."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Delivery, DeliveryFailed, DeliveryState, read_event
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.errors import DeliveryFailedError
from xmpp_onion.expiry import Expiry
from xmpp_onion.store import Database, Inbox, Outbox
from xmpp_onion.timers import Timers

if TYPE_CHECKING:
    from xmpp_onion.e2ee import Omemo
    from xmpp_onion.session import Session

BOB = JID(f"bob@{OnionAddress.from_public_key(bytes(32))}")
CANARY = "a canary that nobody may find " * 40
START = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Down:
    """Stands in for a session that is down."""

    jid = BOB

    def __init__(self) -> None:
        self.revised: list[tuple[str, str]] = []

    def revise(self, xml: str, better: str) -> None:
        self.revised.append((xml, better))


@dataclass
class Desk:
    """Something that erases, and the time that it believes in."""

    database: Database
    session: Down
    courier: Courier
    expiry: Expiry
    inbox: Inbox
    now: datetime = START

    async def keep(self, text: str, expires_at: datetime | None) -> int:
        async with self.database.transaction():
            return await self.inbox.add(text, expires_at=expires_at)

    async def queue(self, text: str, expires_at: datetime | None) -> int:
        sent = Delivery(
            id=text, to=BOB, devices=1, skipped=(), state=DeliveryState.QUEUED
        )
        async with self.database.transaction():
            await Deliveries(self.database).begin(sent)
            return await Outbox(self.database).add(
                text, to=BOB, message_id=text, expires_at=expires_at
            )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account" / "store.db"


@pytest.fixture
async def desk(path: Path) -> AsyncIterator[Desk]:
    async with Database.open(path) as database:
        yield make(database)


def make(database: Database) -> Desk:
    session = Down()
    courier = Courier(
        database,
        Outbox(database),
        cast("Session", session),
        cast("Omemo", None),
        deliveries=Deliveries(database),
    )
    timers = Timers(database)
    desk: Desk
    expiry = Expiry(database, courier, timers, lambda: desk.now)
    desk = Desk(database, session, courier, expiry, Inbox(database))
    return desk


async def until_empty(desk: Desk) -> None:
    while await desk.inbox.pending():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)


def raw(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


async def test_what_has_had_its_time_is_on_the_disk_no_more(
    desk: Desk, path: Path
) -> None:
    await desk.keep(CANARY, START + HOUR)
    await desk.keep("stays", START + 2 * HOUR)
    await desk.keep("for ever", None)
    assert not await desk.expiry.erase()
    assert b"a canary" in raw(path)

    desk.now += HOUR
    assert await desk.expiry.erase()

    assert b"a canary" not in raw(path)
    left = [row.event_json for row in await desk.inbox.pending()]
    assert left == ["stays", "for ever"]
    assert not await desk.expiry.erase()


async def test_it_is_erased_at_once_after_a_restart_and_when_it_is_due(
    path: Path,
) -> None:
    async with Database.open(path) as database:
        await make(database).keep(CANARY, START - HOUR)
    async with Database.open(path) as database, asyncio.TaskGroup() as tasks:
        desk = make(database)
        running = tasks.create_task(desk.expiry.run())
        async with asyncio.timeout(30):
            await until_empty(desk)
            # Nothing is due: it sleeps until it is told.
            await desk.keep(CANARY, START)
            desk.expiry._due.set()
            await until_empty(desk)
            await database.wipe_log()
        running.cancel()

    assert b"a canary" not in raw(path)


async def test_what_could_not_be_sent_in_its_time_fails_and_is_never_sent(
    desk: Desk,
) -> None:
    late = await desk.queue(CANARY, START)
    await desk.queue("stays", START + HOUR)
    told = desk.courier.expect(late)

    await desk.expiry.erase()

    with pytest.raises(DeliveryFailedError, match="not sent") as raised:
        await told
    assert "its time was over" in raised.value.why
    assert desk.session.revised == [(CANARY, "")]
    assert [row.stanza_xml for row in await Outbox(desk.database).pending()] == [
        "stays"
    ]
    [row] = await desk.inbox.pending()
    assert isinstance(read_event(row.event_json), DeliveryFailed)


async def test_a_clock_that_is_put_back_keeps_and_one_put_forward_erases(
    desk: Desk,
) -> None:
    await desk.keep("text", START + HOUR)

    desk.now -= HOUR
    assert not await desk.expiry.erase()
    desk.now += 3 * HOUR
    assert await desk.expiry.erase()
