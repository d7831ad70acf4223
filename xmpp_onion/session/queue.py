"""The one bounded queue between the stream and whoever reads events."""

import asyncio
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from xmpp_onion.session.events import SessionEvent

__all__ = ["EventQueue", "Ticket", "size_of"]

Ticket = tuple[int, int]
# What Python needs for an element besides its text.
_ELEMENT_BYTES: Final = 400


@dataclass(frozen=True, slots=True)
class _Entry:
    event: SessionEvent
    ticket: Ticket | None
    size_bytes: int


class EventQueue:
    """Events in the order they came, and what the reader has done with them.

    An event counts as handled when the next one is asked for.

    Args:
        settle: Called with the ticket of each stanza that is handled.
        changed: Called when the queue became longer or shorter.

    Attributes:
        size_bytes: What waits here takes about this much memory.
    """

    def __init__(
        self, settle: Callable[[Ticket], None], changed: Callable[[], None]
    ) -> None:
        self._settle = settle
        self._changed = changed
        self.size_bytes = 0
        self._entries: deque[_Entry] = deque()
        self._news = asyncio.Event()
        self._end: BaseException | None = None
        self._in_hand: Ticket | None = None
        self._event_in_hand: SessionEvent | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(
        self, event: SessionEvent, ticket: Ticket | None = None, size_bytes: int = 0
    ) -> None:
        """Append an event; the stream stops reading before there are too many."""
        self._entries.append(_Entry(event, ticket, size_bytes))
        self.size_bytes += size_bytes
        self._news.set()
        self._changed()

    def close(self, error: BaseException | None) -> None:
        """Let the reader have what is there, and then the end, or ``error``."""
        self._end = error or StopAsyncIteration()
        self._news.set()

    def holds(self, event: SessionEvent) -> bool:
        """Tell whether ``event`` waits, or its reader is not done with it."""
        if self._event_in_hand == event:
            return True
        return any(entry.event == event for entry in self._entries)

    def drop_stanzas(self) -> None:
        """Leave out each counted stanza that nobody has begun with: all come again."""
        self._entries = deque(entry for entry in self._entries if entry.ticket is None)
        self.size_bytes = sum(entry.size_bytes for entry in self._entries)
        self._changed()

    async def get(self) -> SessionEvent | None:
        """Return the next event; None at the end.

        Raises:
            XmppOnionError: The session has ended for good.
        """
        if self._in_hand is not None:
            self._settle(self._in_hand)
            self._in_hand = None
        self._event_in_hand = None
        while not self._entries:
            if isinstance(self._end, StopAsyncIteration):
                return None
            if self._end is not None:
                raise self._end
            self._news.clear()
            await self._news.wait()
        entry = self._entries.popleft()
        self.size_bytes -= entry.size_bytes
        self._in_hand, self._event_in_hand = entry.ticket, entry.event
        self._changed()
        return entry.event


def size_of(element: ET.Element) -> int:
    """Return about how much memory a stanza takes, in bytes."""
    return sum(
        _ELEMENT_BYTES
        + len(each.text or "")
        + len(each.tail or "")
        + sum(_ELEMENT_BYTES // 4 + len(value) for value in each.attrib.values())
        for each in element.iter()
    )
