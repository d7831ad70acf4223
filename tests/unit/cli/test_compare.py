"""Fingerprints of which the end is typed as the other screen shows it."""

import pytest

from xmpp_onion.cli.compare import ENDING, hidden, is_ending, match
from xmpp_onion.errors import FingerprintMismatchError, InvalidFingerprintError

ONE, OTHER = "0123456789abcdef" * 4, "f" * 64


def test_the_end_is_not_shown_so_that_it_has_to_be_read_elsewhere() -> None:
    assert ONE[-ENDING:-8] not in hidden(ONE).replace(" ", "")[48:]
    assert hidden(ONE).endswith(" ???????? ????????")
    assert hidden(ONE).replace(" ", "").startswith(ONE[:48])


@pytest.mark.parametrize(
    "typed", ["01234567 89abcdef", "0123456789ABCDEF", " 0123:4567 89ab:cdef"]
)
def test_the_device_that_ends_so_is_meant(typed: str) -> None:
    assert is_ending(typed)
    assert match([OTHER, ONE], typed, "bob") == ONE


def test_an_end_of_no_device_changes_nothing() -> None:
    with pytest.raises(FingerprintMismatchError, match="bob ends so"):
        match([OTHER], "01234567 89abcdef", "bob")


def test_two_devices_that_end_alike_are_none() -> None:
    with pytest.raises(FingerprintMismatchError):
        match([ONE, "0" * 48 + ONE[-16:]], ONE[-16:], "bob")


@pytest.mark.parametrize("typed", ["", "89abcdef", "yes", "g" * 16, "\u0661" * 16])
def test_less_than_two_groups_is_no_comparison(typed: str) -> None:
    with pytest.raises(InvalidFingerprintError):
        match([ONE], typed, "bob")
