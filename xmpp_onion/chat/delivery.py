"""What becomes of a message of ours: how far it has come, and who says so."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from xmpp_onion.address import JID

__all__ = ["Delivery", "DeliveryFailed", "DeliveryState", "Receipt"]


class DeliveryState(StrEnum):
    """How far a message of ours has come. It only ever goes forward."""

    QUEUED = "queued"
    """On our disk; the server has not confirmed it yet."""
    ACKED = "acked"
    """The server has it (XEP-0198)."""
    RECEIVED = "received"
    """A device of the recipient has it (XEP-0184); a room has given it to all."""
    DISPLAYED = "displayed"
    """It was shown to the recipient (XEP-0333). Nothing in a room comes so far: there
    ``Room.displayed_by()`` tells who was shown it."""
    FAILED = "failed"
    """It did not and will not arrive; ``Delivery.reason`` says why."""

    def may_become(self, later: "DeliveryState") -> bool:
        """Tell whether ``later`` is further than this.

        What has arrived cannot fail any more, and what has failed stays so: its
        sender was told, and acts on it.
        """
        return later in _AFTER[self]

    def has_reached(self, state: "DeliveryState") -> bool:
        """Tell whether a message in this state has been in ``state``."""
        return self is state or self in _AFTER[state] - {DeliveryState.FAILED}


_AFTER: dict[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.QUEUED: frozenset(DeliveryState) - {DeliveryState.QUEUED},
    DeliveryState.ACKED: frozenset(
        {DeliveryState.RECEIVED, DeliveryState.DISPLAYED, DeliveryState.FAILED}
    ),
    DeliveryState.RECEIVED: frozenset({DeliveryState.DISPLAYED}),
    DeliveryState.DISPLAYED: frozenset(),
    DeliveryState.FAILED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one message to one recipient.

    Attributes:
        id: The message's id, also its origin id (XEP-0359).
        to: The recipient.
        devices: How many devices it was encrypted for, our own others included.
        skipped: Devices that were left out, each named with the reason.
        state: How far it has come.
        reason: Why it failed, in words; empty otherwise.
        text_only: How many of the devices got the text alone, because their version
            of OMEMO cannot carry what belongs to it: what it replies to or corrects.
    """

    id: str
    to: JID
    devices: int
    skipped: tuple[str, ...]
    state: DeliveryState
    reason: str = ""
    text_only: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A message of ours has come further: the recipient's side says so.

    Attributes:
        id: Of our message.
        sender: The recipient of it, who confirms.
        state: ``RECEIVED`` or ``DISPLAYED``.
        authenticated: It came encrypted. If not, a server on the way may have made
            it up.
        at: When the server got it, in UTC.
        room: The room that our message was said in, where ``sender`` is the member
            who was shown it, and all of ours before; None between two people, and
            where a room says that it has given our message to all.
    """

    id: str
    sender: JID
    state: DeliveryState
    authenticated: bool
    at: datetime
    room: JID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFailed:
    """A message of ours that was accepted did not and will not arrive.

    Attributes:
        id: Of our message.
        sender: The recipient of it: whose conversation this belongs to.
        reason: Why, in words.
        at: When we learned it, in UTC.
    """

    id: str
    sender: JID
    reason: str
    at: datetime
