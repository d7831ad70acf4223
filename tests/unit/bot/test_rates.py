"""Rates as people write them."""

import pytest

from xmpp_onion.bot.rates import Rate


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
