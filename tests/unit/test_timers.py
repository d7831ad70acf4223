"""How long what is said may be kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.store import Database
from xmpp_onion.timers import LONGEST, Timers, checked, is_over

BOB = JID(f"bob@{OnionAddress.from_public_key(bytes(32))}")
HOUR = timedelta(hours=1)


def test_a_timer_is_from_a_second_to_a_year() -> None:
    assert checked(timedelta(0)) is None
    assert checked(None) is None
    assert checked(timedelta(seconds=1)) == timedelta(seconds=1)
    assert checked(LONGEST) == LONGEST
    for wrong in (-HOUR, timedelta(seconds=0.5), LONGEST + HOUR):
        with pytest.raises(XmppOnionError, match="not possible"):
            checked(wrong)


async def test_a_conversation_keeps_its_timer_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "account" / "store.db"
    async with Database.open(path) as database:
        await Timers(database).set(BOB, HOUR)
    async with Database.open(path) as database:
        timers = Timers(database)
        assert await timers.of(JID(f"{BOB}/phone")) == HOUR
        await timers.set(BOB, timedelta(0))
        assert await timers.of(BOB) is None


async def test_time_is_counted_from_when_it_came_and_never_from_later(
    tmp_path: Path,
) -> None:
    async with Database.open(tmp_path / "account" / "store.db") as database:
        timers, now = Timers(database), datetime.now(UTC)

        assert timers.begin(None) is None
        assert not timers.due.is_set()
        assert timers.begin(HOUR, now - HOUR) == now
        assert timers.due.is_set()
        ahead = timers.begin(HOUR, now + timedelta(days=400))

    assert ahead is not None
    assert now + HOUR <= ahead <= datetime.now(UTC) + HOUR
    assert is_over(now, now)
    assert not is_over(ahead)
    assert not is_over(None)
