from datetime import timedelta

import pytest

from xmpp_onion.bot.durations import Rate, read_duration


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90s", timedelta(seconds=90)),
        ("0.5s", timedelta(seconds=0.5)),
        ("2h30m", timedelta(hours=2, minutes=30)),
        ("1w", timedelta(days=7)),
    ],
)
def test_a_duration_is_read(text: str, value: timedelta) -> None:
    assert read_duration(text) == value


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "1e3s", "5mx", "٣m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        read_duration(text)


def test_nothing_lasts_longer_than_ten_years() -> None:
    with pytest.raises(ValueError, match="longer than ten years"):
        read_duration("999999w")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("5/m", Rate(5, 60)), ("1/h", Rate(1, 3600)), ("2/10s", Rate(2, 10))],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert Rate.read(text) == rate


@pytest.mark.parametrize("text", ["", "5", "0/m", "5/", "5/0s", "-1/m", "5/y"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        Rate.read(text)
