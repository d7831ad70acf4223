"""Times as people write them."""

import click
import pytest

from xmpp_onion.cli.duration import read_duration, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("1h", 3600),
        ("7d", 604800),
        ("2w", 1209600),
        ("1h30m", 5400),
        ("1.5h", 5400),
    ],
)
def test_a_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a duration"),
        ("1y", "is not a duration"),
        ("0s", "is shorter than 1s"),
        ("367d", "is longer than"),
        ("1.5s", "is no whole number of seconds"),
    ],
)
def test_what_is_no_time_is_refused(text: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why):
        read_duration(text)


@pytest.mark.parametrize("text", ["1s", "90s", "30m", "1h", "36h", "6d", "2w", "1d"])
def test_a_time_is_written_as_it_is_read(text: str) -> None:
    assert write_duration(read_duration(text)) == text
    assert write_duration(7 * 86400) == "1w"
