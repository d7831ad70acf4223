"""How far our messages have come: forward only, and at the right word only."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Delivery,
    DeliveryFailed,
    DeliveryState,
    Receipt,
    read_event,
)
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.errors import DeliveryFailedError, NotAcknowledgedError
from xmpp_onion.store import Database, Inbox

ONION = OnionAddress.from_public_key(bytes(32))
BOB, MALLORY = JID(f"bob@{ONION}"), JID(f"mallory@{ONION}")
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
SENT = Delivery(id="m1", to=BOB, devices=1, skipped=(), state=DeliveryState.QUEUED)
RECEIVED, DISPLAYED = DeliveryState.RECEIVED, DeliveryState.DISPLAYED


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "account" / "store.db") as database:
        yield database


@pytest.fixture
async def deliveries(database: Database) -> Deliveries:
    made = Deliveries(database)
    async with database.transaction():
        await made.begin(SENT)
    return made


async def state_of(deliveries: Deliveries) -> DeliveryState:
    delivery = await deliveries.load("m1")
    assert delivery is not None
    return delivery.state


async def events(database: Database) -> list[object]:
    return [read_event(row.event_json) for row in await Inbox(database).pending()]


async def confirm(
    database: Database,
    deliveries: Deliveries,
    state: DeliveryState,
    sender: JID = BOB,
) -> None:
    async with database.transaction():
        await deliveries.confirm("m1", sender, state, authenticated=False, at=AT)


async def test_a_receipt_moves_the_state_and_is_an_event_once(
    database: Database, deliveries: Deliveries
) -> None:
    for resource in ("phone", "laptop"):
        await confirm(database, deliveries, RECEIVED, JID(f"{BOB}/{resource}"))

    assert await state_of(deliveries) is RECEIVED
    assert await events(database) == [
        Receipt(id="m1", sender=BOB, state=RECEIVED, authenticated=False, at=AT)
    ]


async def test_a_receipt_of_somebody_else_moves_nothing(
    database: Database, deliveries: Deliveries
) -> None:
    await confirm(database, deliveries, DISPLAYED, MALLORY)

    assert await state_of(deliveries) is DeliveryState.QUEUED
    assert await events(database) == []


async def test_an_error_of_somebody_else_fails_nothing(
    database: Database, deliveries: Deliveries
) -> None:
    async with database.transaction():
        assert not await deliveries.fail("m1", MALLORY, "because")

    assert await state_of(deliveries) is DeliveryState.QUEUED


async def test_an_id_that_nobody_knows_is_no_error(
    database: Database, deliveries: Deliveries
) -> None:
    async with database.transaction():
        await deliveries.acknowledge("unknown", BOB)
        await deliveries.confirm("unknown", BOB, RECEIVED, authenticated=True, at=AT)
        assert not await deliveries.fail("unknown", None, "because")

    assert await events(database) == []


async def test_a_state_never_goes_back(
    database: Database, deliveries: Deliveries
) -> None:
    await confirm(database, deliveries, DISPLAYED)
    await confirm(database, deliveries, RECEIVED)
    async with database.transaction():
        await deliveries.acknowledge("m1", BOB)
        assert not await deliveries.fail("m1", BOB, "too late")

    assert await state_of(deliveries) is DISPLAYED


async def test_what_failed_is_an_event_with_the_reason(
    database: Database, deliveries: Deliveries
) -> None:
    async with database.transaction():
        assert await deliveries.fail("m1", None, "the account does not exist")

    (event,) = await events(database)
    assert isinstance(event, DeliveryFailed)
    assert (event.id, event.sender) == ("m1", BOB)
    assert event.reason == "the account does not exist"


async def test_who_waits_is_told_when_it_is_on_the_disk(
    database: Database, deliveries: Deliveries
) -> None:
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waiting = tasks.create_task(deliveries.wait("m1", RECEIVED, None))
        await asyncio.sleep(0)
        await confirm(database, deliveries, DISPLAYED)

    assert waiting.result().state is DISPLAYED


async def test_who_waits_for_what_fails_is_told_why(
    database: Database, deliveries: Deliveries
) -> None:
    async with database.transaction():
        await deliveries.fail("m1", BOB, "the account does not exist")

    with pytest.raises(DeliveryFailedError) as caught:
        await deliveries.wait("m1", RECEIVED, None)
    assert caught.value.why == "the account does not exist"


async def test_who_waits_too_short_learns_that_it_is_on_its_way(
    deliveries: Deliveries,
) -> None:
    with pytest.raises(NotAcknowledgedError, match="not received yet"):
        await deliveries.wait("m1", RECEIVED, 0)


async def test_a_message_that_nobody_sent_cannot_be_waited_for(
    deliveries: Deliveries,
) -> None:
    with pytest.raises(KeyError):
        await deliveries.wait("unknown", RECEIVED, None)


async def test_what_is_rolled_back_wakes_nobody(
    database: Database, deliveries: Deliveries
) -> None:
    async def undone() -> None:
        async with database.transaction():
            await deliveries.fail("m1", None, "because")
            raise ValueError

    deliveries.news.clear()
    with pytest.raises(ValueError):  # noqa: PT011 - the one above
        await undone()
    async with database.transaction():
        pass

    assert not deliveries.news.is_set()
    assert await state_of(deliveries) is DeliveryState.QUEUED
