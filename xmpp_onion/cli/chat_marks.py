"""How far a line of ours has come, as a mark on it; and where such a line is shown."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from xmpp_onion.chat import DeliveryState
from xmpp_onion.cli.chat_names import SELF
from xmpp_onion.cli.chat_numbers import Numbered

__all__ = ["LEGEND", "Paper", "head_of", "mark_of"]

LEGEND: Final = "· waits here, ✓ server, ✓✓ device, ✓✓✓ shown, ✗ failed, ? not proven"
"""What the marks say, for a person."""

_MARKS: Final[Mapping[DeliveryState, tuple[str, str]]] = MappingProxyType(
    {
        DeliveryState.QUEUED: ("·", "."),
        DeliveryState.ACKED: ("✓", "+"),
        DeliveryState.RECEIVED: ("✓✓", "++"),
        DeliveryState.DISPLAYED: ("✓✓✓", "+++"),
        DeliveryState.FAILED: ("✗", "x"),
    }
)
# Of the widest mark, with its doubt: what is drawn anew covers what was there.
_WIDTH: Final = 4


class Paper(Protocol):
    """Where a talk is shown: a terminal, or a pipe that nothing is taken back from."""

    def show(self, text: str) -> None:
        """Show one line, or several, each already harmless."""

    def show_mine(self, number: int, text: str) -> None:
        """Show a line of ours, and keep in mind where it stands."""

    def mark(self, number: int, head: str, otherwise: Callable[[], None]) -> None:
        """Draw the begin of a line of ours anew, as wide as it was.

        Args:
            number: Of the line.
            head: Its begin.
            otherwise: Called if the line cannot be reached any more.
        """


def mark_of(one: Numbered) -> str:
    """Return the mark of a message; empty for one that has none."""
    if one.state is None:
        return ""
    rich, plain = _MARKS[one.state]
    doubt = "" if one.is_sure else "?"
    return (rich if _is_rich() else plain) + doubt


def head_of(one: Numbered) -> str:
    """Return how the line of a message of ours begins, always equally wide."""
    return f"#{one.number} {one.clock} {mark_of(one):<{_WIDTH}} {SELF}"


def _is_rich() -> bool:
    """Tell whether the terminal can show the marks that are no ASCII."""
    stdout = sys.__stdout__
    try:
        LEGEND.encode("ascii" if stdout is None else stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
