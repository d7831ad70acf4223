"""Timers of conversations, and times whose texts have the order of times."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.store import Database, TimerTable
from xmpp_onion.store.timers import read_time, write_time

TIMES = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - the zone is drawn
    max_value=datetime(9990, 1, 1),  # noqa: DTZ001 - the zone is drawn
    timezones=st.sampled_from((UTC, timezone(timedelta(hours=14)))),
)


@given(TIMES, TIMES)
def test_texts_have_the_order_of_times(one: datetime, other: datetime) -> None:
    assert (write_time(one) <= write_time(other)) == (one <= other)
    assert read_time(write_time(one)) == one


def test_no_time_is_no_text() -> None:
    assert write_time(None) == ""
    assert read_time("") is None


async def test_a_conversation_has_the_timer_that_was_set_last(
    database: Database,
) -> None:
    table = TimerTable(database)
    assert await table.load("bob") is None

    for timer in (timedelta(hours=1), timedelta(days=7), None):
        async with database.transaction():
            await table.store("bob", timer)
        assert await table.load("bob") == timer
    assert await table.load("eve") is None
