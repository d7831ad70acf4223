"""Long lines, cut where the terminal would cut them, with a mark on what follows.

A terminal begins a new row by itself, at its left edge: whoever knows how wide it is
could fill a row with blanks and put on the next one what looks like another message.
"""

import unicodedata
from typing import Final

__all__ = ["LEAST", "fold"]

MARK: Final = "  | "
"""Begins each row that continues one, as ``visible`` begins further lines."""

# A terminal of fewer columns shows rows that are broken once more, by itself.
LEAST: Final = 20
"""Columns that a terminal has at least; see :func:`fold`."""
_TAB: Final = 8
# Asks for the picture of the sign before it, which in some terminals is wider.
_PICTURE: Final = "\ufe0f"
_JOINERS: Final = "\u200c\u200d"


def fold(text: str, columns: int) -> str:
    """Return ``text`` in rows that fit into ``columns``, one column left free.

    It breaks at a blank if the row has one, else anywhere; rows after the first of
    a line begin with :data:`MARK`. Letters count as wide as the widest terminal
    shows them: a row may end early, and never late.
    """
    most = max(columns, LEAST) - 1
    return "\n".join(row for line in text.split("\n") for row in _rows(line, most))


def _rows(line: str, most: int) -> list[str]:
    rows: list[str] = []
    row, used, blank = "", 0, 0
    for letter in line:
        wide = _TAB - used % _TAB if letter == "\t" else _width(letter)
        shown = " " * wide if letter == "\t" else letter
        if used + wide > most:
            cut = blank or len(row)
            rows.append(row[:cut])
            row = MARK + row[cut:]
            used = sum(map(_width, row))
            blank = 0
        row += shown
        used += wide
        if shown.isspace() and row[len(MARK) :].strip():
            blank = len(row)
    return [*rows, row]


def _width(letter: str) -> int:
    """Return how many columns a letter takes, where terminals differ the most."""
    if letter == _PICTURE:
        return 1
    if letter in _JOINERS or unicodedata.category(letter) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
