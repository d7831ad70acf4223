"""Times as people write them."""

import click
import pytest

from xmpp_onion.cli.duration import read_duration, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604800), ("2w", 1209600)],
)
def test_a_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0s", "1", "1.5h", "-1h", "1 h", "1y", "367d", "\u0661h", "9" * 50 + "s"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time such as"):
        read_duration(text)


@pytest.mark.parametrize("text", ["1s", "90s", "30m", "1h", "36h", "6d", "2w", "1d"])
def test_a_time_is_written_as_it_is_read(text: str) -> None:
    assert write_duration(read_duration(text)) == text
    assert write_duration(7 * 86400) == "1w"
