"""Durations as people write them, in one grammar everywhere."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.durations import LONGEST, read_duration, write_duration


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90s", timedelta(seconds=90)),
        ("0.5s", timedelta(seconds=0.5)),
        ("2h30m", timedelta(hours=2, minutes=30)),
        ("1.5d", timedelta(hours=36)),
        ("1w", timedelta(days=7)),
    ],
)
def test_a_duration_is_read(text: str, value: timedelta) -> None:
    assert read_duration(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "-5m", "5 m", "1e3s", "5mx", "x5m", "1y", "\u0663m", "9" * 50 + "s",
     "1s" * 5000],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration") as raised:
        read_duration(text)
    assert len(str(raised.value)) < 200


def test_nothing_lasts_longer_than_ten_years_or_than_it_may() -> None:
    with pytest.raises(ValueError, match="longer than 3660d"):
        read_duration("999999w")
    with pytest.raises(ValueError, match="longer than 52w"):
        read_duration("365d", most=timedelta(days=364))
    assert read_duration("364d", most=timedelta(days=364)) == timedelta(days=364)


def test_nothing_is_shorter_than_it_may_be() -> None:
    with pytest.raises(ValueError, match="shorter than 1m"):
        read_duration("59s", least=timedelta(minutes=1))
    assert read_duration("60s", least=timedelta(minutes=1)) == timedelta(minutes=1)


@given(st.integers(0, int(LONGEST.total_seconds())))
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    duration = timedelta(seconds=seconds)

    assert read_duration(write_duration(duration)) == duration


@given(st.text(max_size=100))
def test_any_text_is_a_duration_within_bounds_or_a_value_error(text: str) -> None:
    try:
        read = read_duration(text)
    except ValueError:
        return
    assert timedelta(0) <= read <= LONGEST
