"""The one bounded queue between the stream and whoever reads events."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from xmpp_onion.session.events import Connected, Disconnected, Received, SessionEvent
from xmpp_onion.session.lanes import NEAR, Lanes, Load

__all__ = ["EventQueue", "Ticket", "size_of"]

Ticket = tuple[int, int]
"""What a stanza is settled with; see :class:`.acks.IncomingAcks`."""
# What Python needs for an element besides its text.
_ELEMENT_BYTES: Final = 400


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event; its ticket, if it was a stanza; what it weighs in memory."""

    event: SessionEvent
    ticket: Ticket | None
    size_bytes: int


class EventQueue:
    """Events, each lane's in the order they came, and what the reader has done.

    Nothing overtakes the beginning or the end of a connection. An event counts as
    handled when the next one is asked for.

    Args:
        settle: Called with the ticket of each stanza that is handled.
        changed: Called when the queue became longer or shorter.
    """

    def __init__(
        self, settle: Callable[[Ticket], None], changed: Callable[[], None]
    ) -> None:
        self._settle = settle
        self._changed = changed
        self._entries: Lanes[_Entry] = Lanes()
        self._news = asyncio.Event()
        self._end: BaseException | None = None
        self._in_hand: Ticket | None = None
        self._event_in_hand: SessionEvent | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def near(self) -> Load:
        """What waits of contacts, of our own account and our server."""
        return self._entries.near

    @property
    def far(self) -> Load:
        """What waits of all others."""
        return self._entries.far

    @property
    def size_bytes(self) -> int:
        """What waits here takes about this much memory."""
        return self.near.size_bytes + self.far.size_bytes

    def put(
        self,
        event: SessionEvent,
        ticket: Ticket | None = None,
        size_bytes: int = 0,
        *,
        lane: str = NEAR,
    ) -> None:
        """Append an event; the stream stops reading before there are too many.

        Args:
            event: What happened.
            ticket: Of its stanza.
            size_bytes: What it takes.
            lane: Whose it is, and whose order it keeps.
        """
        if isinstance(event, Connected | Disconnected):
            self._entries.bar()
        self._entries.add(_Entry(event, ticket, size_bytes), lane)
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

    def bar(self) -> None:
        """Let nothing that comes from now on overtake what waits."""
        self._entries.bar()
        self._changed()

    def drop_stanzas(self) -> None:
        """Leave out each counted stanza that nobody has begun with: all come again."""
        self._entries.keep(lambda entry: entry.ticket is None)
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
        entry, is_oldest = self._entries.take()
        self._in_hand, self._event_in_hand = entry.ticket, entry.event
        self._changed()
        if isinstance(entry.event, Received) and not is_oldest:
            return replace(entry.event, is_early=True)
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
