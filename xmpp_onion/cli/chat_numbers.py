"""The messages on the screen of a talk: each has a number, by which it is meant."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import DeliveryState, Message
from xmpp_onion.errors import UsageError

__all__ = ["Numbered", "Numbers"]

# Messages that can be referred to by a number; older ones are scrolled away.
_NUMBERED: Final = 500


@dataclass(slots=True)
class Numbered:
    """A message that stands on the screen.

    Attributes:
        id: The message's.
        where: The conversation.
        is_ours: We wrote it.
        message: What came, if it came.
        state: How far ours has come, if we wrote it here.
        text: What ours says, in one line.
        clock: When ours was said, as it is shown.
        is_sure: Its state was said inside of an envelope, or by our own server.
        shown_to: The members of a room who were shown ours.
        number: By which it is meant; 0 until it has one.
    """

    id: str
    where: JID
    is_ours: bool
    message: Message | None = None
    state: DeliveryState | None = None
    text: str = ""
    clock: str = ""
    is_sure: bool = True
    shown_to: set[JID] = field(default_factory=set)
    number: int = 0


class Numbers:
    """The messages that can be meant by a number; the oldest are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Numbered] = OrderedDict()
        self._count = 0

    def __iter__(self) -> Iterator[Numbered]:
        """Yield them, the oldest first."""
        return iter(self._known.values())

    def add(self, one: Numbered) -> int:
        """Give a message the next number, and return it."""
        self._count += 1
        one.number = self._count
        self._known[self._count] = one
        if len(self._known) > _NUMBERED:
            self._known.popitem(last=False)
        return self._count

    def of(self, message_id: str) -> int:
        """Return the number of a message; 0 if it is not known."""
        if not message_id:
            return 0
        newest = reversed(self._known.values())
        return next((one.number for one in newest if one.id == message_id), 0)

    def find(self, number: int) -> Numbered:
        """Return the message that a person means.

        Raises:
            UsageError: There is none of this number.
        """
        if number not in self._known:
            raise UsageError(
                f"there is no message {number} on the screen",
                fix="Type the number that stands before it, without the #.",
            )
        return self._known[number]

    def ours(self, message_id: str) -> Numbered | None:
        """Return a message that we wrote here; None if it is not known."""
        for one in reversed(self._known.values()):
            if one.id == message_id and one.state is not None:
                return one
        return None
