"""What has had its time is handed out to nobody, however it came so far."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Delivery, Event, RolledBack, write_event
from xmpp_onion.reader import InboxReader
from xmpp_onion.store import Database, Inbox

if TYPE_CHECKING:
    from xmpp_onion.courier import Courier
    from xmpp_onion.e2ee import Omemo

BOB = JID(f"bob@{OnionAddress.from_public_key(bytes(32))}")
AT = datetime(2026, 11, 26, tzinfo=UTC)
SOON = timedelta(seconds=0.5)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "store.db") as database:
        yield database


async def keep(database: Database, *expiries: datetime | None) -> None:
    """Keep an event for each, a minute after the other."""
    async with database.transaction():
        for number, expires_at in enumerate(expiries):
            event = RolledBack(sender=BOB, at=AT + timedelta(minutes=number))
            await Inbox(database).add(write_event(event), expires_at=expires_at)


def events(database: Database) -> AsyncGenerator[Event, None]:
    async def answer(_to: JID, _text: str) -> Delivery:
        raise AssertionError

    reader = InboxReader(
        database, cast("Omemo", None), cast("Courier", None), asyncio.Event()
    )
    return reader.events(answer)


async def test_what_has_had_its_time_before_is_not_handed_out(
    database: Database,
) -> None:
    await keep(database, datetime.now(UTC), None)

    async with aclosing(events(database)) as told:
        event = await anext(told)

    assert event.at == AT + timedelta(minutes=1)


async def test_what_has_its_time_while_the_one_before_is_handled_is_not_handed_out(
    database: Database,
) -> None:
    expires_at = datetime.now(UTC) + SOON
    await keep(database, None, expires_at, None)

    async with aclosing(events(database)) as told:
        first = await anext(told)
        # Both were read from the disk together; nobody tells when a time is over.
        await asyncio.sleep((expires_at - datetime.now(UTC)).total_seconds() + 0.01)
        second = await anext(told)

    assert (first.at, second.at) == (AT, AT + timedelta(minutes=2))
