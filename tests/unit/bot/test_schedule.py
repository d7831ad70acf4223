"""When a job is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.bot.schedule import Cron, read_schedule

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ("* * * * *", "2026-01-31T12:01"),
        ("*/15 * * * *", "2026-01-31T12:15"),
        ("0 9 * * *", "2026-02-01T09:00"),
        ("30 8-10/2 * * *", "2026-02-01T08:30"),
        ("0 0 1 * *", "2026-02-01T00:00"),
        ("0 0 31 * *", "2026-03-31T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 0 * * 1", "2026-02-02T00:00"),
        ("0 0 * * 0", "2026-02-01T00:00"),
        ("0 0 * * 7", "2026-02-01T00:00"),
        ("0 0 13 * 5", "2026-02-06T00:00"),  # either is enough, as in crontab(5)
        ("0 13,14 31 1 *", "2026-01-31T13:00"),
        ("5/20 * * * *", "2026-01-31T12:05"),
    ],
)
def test_five_fields_name_a_time(fields: str, due: str) -> None:
    assert Cron.read(fields).after(NOON) == datetime.fromisoformat(due + "+00:00")


@pytest.mark.parametrize(
    "fields",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
        "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *",
        "1,,2 * * * *", "@daily * * * *",
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(fields: str) -> None:
    with pytest.raises(ValueError, match=r"field|within"):
        Cron.read(fields)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ValueError, match="never comes"):
        read_schedule("", "0 0 30 2 *", timedelta(), "skip")


@given(
    st.datetimes(timezones=st.just(UTC)).filter(lambda at: 1 < at.year < 9999),
    st.integers(0, 59),
    st.integers(0, 23),
)
def test_the_next_time_is_later_and_not_a_day_away(
    moment: datetime, minute: int, hour: int
) -> None:
    due = Cron.read(f"{minute} {hour} * * *").after(moment)
    assert moment < due <= moment + timedelta(days=1)
    assert (due.minute, due.hour, due.second) == (minute, hour, 0)


def test_a_pause_is_counted_from_the_last_time_and_a_jitter_added() -> None:
    schedule = read_schedule("5m", "", "1m", "skip")
    assert schedule.after(NOON, part=lambda: 0.0) == NOON + timedelta(minutes=5)
    assert schedule.after(NOON, part=lambda: 0.5) == NOON + timedelta(minutes=5.5)
    assert not schedule.catches_up


@pytest.mark.parametrize(("every", "cron"), [("", ""), ("5m", "* * * * *")])
def test_a_job_has_one_kind_of_schedule(every: str, cron: str) -> None:
    with pytest.raises(ValueError, match="either every= or cron="):
        read_schedule(every, cron, timedelta(), "skip")


def test_a_job_is_not_done_all_the_time() -> None:
    with pytest.raises(ValueError, match="once a second"):
        read_schedule("0.5s", "", timedelta(), "skip")
