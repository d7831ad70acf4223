"""Who has received what: the counters of stream management, both ways.

Nothing here does I/O. Outgoing stanzas wait here, as the bytes that were sent,
until the server acknowledges them; incoming ones until they are handled.

Source: XEP-0198, sections 4 and 5.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from xmpp_onion.errors import StreamViolationError

__all__ = ["IncomingAcks", "OutgoingAcks"]

T = TypeVar("T")

# XEP-0198, section 4: counters are 32 bits wide and start over at zero.
WRAP: Final = 2**32


@dataclass(slots=True)
class _Sent(Generic[T]):
    """A stanza that waits for its ack, and what its sender wants back then."""

    data: str
    token: T | None


class OutgoingAcks(Generic[T]):
    """What was sent and is not acknowledged, in order.

    A token goes in with a stanza, and comes out when that stanza is acknowledged.

    Attributes:
        acknowledged: How many the server says it has.
        written: How many of those that wait were written on some connection, and
            may have arrived. While there are any, nobody knows where the server's
            count stands, and what is said again it would count twice.
        characters: How much waits.
    """

    def __init__(self) -> None:
        self.acknowledged = self.written = self.characters = 0
        self._waiting: deque[_Sent[T]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def sent(self) -> int:
        """How many stanzas were sent in all, by the counter of the stream."""
        return (self.acknowledged + len(self._waiting)) % WRAP

    def add(self, data: str, token: T | None = None) -> None:
        """Note a stanza that is being sent."""
        self._waiting.append(_Sent(data, token))
        self.characters += len(data)

    def acknowledge(self, count: int) -> list[T]:
        """Return the tokens of what the server has, now that it says ``count``.

        Raises:
            StreamViolationError: It claims stanzas that were never sent.
        """
        new = (count - self.acknowledged) % WRAP
        if not 0 <= count < WRAP or new > len(self._waiting):
            raise StreamViolationError(
                "the server acknowledged what was never sent",
                condition="undefined-condition",
                fix="The connection was closed; nothing was marked as delivered.",
            )
        self.acknowledged = count
        self.written = max(self.written - new, 0)
        done = [self._waiting.popleft() for _ in range(new)]
        self.characters -= sum(len(sent.data) for sent in done)
        return [sent.token for sent in done if sent.token is not None]

    def revise(self, data: str, better: str) -> None:
        """Send ``better`` instead of ``data`` if it has to be sent again."""
        for sent in self._waiting:
            if sent.data == data:
                sent.data = better
                self.characters += len(better) - len(data)

    def unacknowledged(self, after: int = 0) -> Iterator[str]:
        """Yield what is sent, again or at last, on a connection that was logged in.

        Args:
            after: So many were said behind the login, and are left out.
        """
        return (sent.data for sent in islice(self._waiting, after, None))

    def mark_written(self, count: int | None = None) -> None:
        """Note that the oldest ``count``, or all that wait, were written."""
        self.written = len(self._waiting) if count is None else count

    def forget(self, keep: int = 0) -> list[T]:
        """Start over at zero, and return the tokens of what was not acknowledged.

        Args:
            keep: So many are what the new stream began with.
        """
        waiting = list(self._waiting)
        self._waiting = deque(waiting[:keep])
        self.acknowledged, self.written = 0, len(self._waiting)
        self.characters = sum(len(sent.data) for sent in self._waiting)
        return [sent.token for sent in waiting[keep:] if sent.token is not None]


class IncomingAcks:
    """What came and is not handled: the number that we may acknowledge.

    A stanza is handled when whoever is responsible for it says so, not when it
    was read: a stanza that a crash swallowed is one that the server still has.
    """

    def __init__(self) -> None:
        self._received = 0
        self._open: dict[int, None] = {}  # a set that keeps its order
        self._generation = 0

    @property
    def handled(self) -> int:
        """How many stanzas from the start are handled, without a gap."""
        for number in self._open:
            return (number - 1) % WRAP
        return self._received % WRAP

    def receive(self, *, handled: bool) -> tuple[int, int]:
        """Count a stanza; return its ticket for :meth:`settle`.

        Args:
            handled: Nobody has to do anything about it any more.
        """
        self._received += 1
        if not handled:
            self._open[self._received] = None
        return self._generation, self._received

    def settle(self, ticket: tuple[int, int]) -> None:
        """Note that a stanza is handled; one of an earlier stream is ignored."""
        generation, number = ticket
        if generation == self._generation:
            self._open.pop(number, None)

    def rewind(self, handled: int) -> None:
        """Go back to ``handled``: the server sends all after it again."""
        self._received = handled
        self._open.clear()
        self._generation += 1

    def forget(self) -> None:
        """Start over at zero with a new stream."""
        self.rewind(0)
