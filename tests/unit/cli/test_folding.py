"""Rows of a terminal: none is cut by the terminal itself."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.cli.folding import MARK, fold


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("a" * 19, "a" * 19),
        ("a" * 20, f"{'a' * 19}\n{MARK}a"),
        ("one two three four five", f"one two three four \n{MARK}five"),
        ("two\nlines", "two\nlines"),
        ("漢" * 10, f"{'漢' * 9}\n{MARK}漢"),
        # Where the picture takes two columns, as where it takes one.
        ("❤\ufe0f" * 10, "❤\ufe0f" * 9 + f"❤\n{MARK}\ufe0f"),
        ("e\u0301" * 19, "e\u0301" * 19),
        ("a\tb", "a       b"),
        # What would begin a row of its own behind the blanks.
        (f"x{' ' * 19}#9 bob: pay", f"x{' ' * 18}\n{MARK} #9 bob: pay"),
    ],
)
def test_a_row_that_continues_one_is_marked(text: str, shown: str) -> None:
    assert fold(text, 20) == shown


@given(st.text(), st.integers(20, 200))
def test_no_row_is_wider_than_the_terminal(text: str, columns: int) -> None:
    for row in fold(text, columns).split("\n"):
        wide = [unicodedata.east_asian_width(letter) in "WF" for letter in row]
        marks = [unicodedata.category(letter) in {"Mn", "Me"} for letter in row]
        assert (
            len(row)
            + sum(wide)
            - sum(marks)
            - sum(letter in "\u200c\u200d" for letter in row)
            <= columns
        )


@given(st.text(alphabet=st.characters(exclude_characters="\t\n")))
def test_nothing_is_lost_or_added_but_the_mark(text: str) -> None:
    assert fold(text, 30).replace(f"\n{MARK}", "") == text
