"""What comes without encryption or from a device that nobody decided about.

No handler of messages ever sees it. A bot that wants to know can register one function
for it, which gets a value that does nothing: what it returns goes out encrypted, or
not at all.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.limits import Limiter
from xmpp_onion.bot.rates import Rate
from xmpp_onion.chat import Event, Message, Undecryptable

__all__ = ["Doorstep", "Doubt", "Untrusted"]

# Of what somebody writes whom nobody knows; enough to tell a person of it.
_TEXT: Final = 1_000
# How much is looked at, of each sender and of all of them: addresses cost nothing.
_EACH: Final = Rate.read("6/m")
_ALL: Final = Rate.read("60/m")
_ANYBODY: Final = ""


class Doubt(StrEnum):
    """Why something is not believed."""

    PLAINTEXT = "plaintext"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrusted:
    """That somebody wrote who is not believed; ``Bot.untrusted`` gets it.

    Nothing of it proves anything. It has no way to answer: a text that the handler
    returns is encrypted for devices that are accepted, and if there are none, or one
    that is undecided, nothing is said.

    Attributes:
        sender: The account that the server says it is from; of what came to a room
            without encryption the room, for who wrote it is not known.
        room: Where it was said; None for a conversation of two.
        doubt: Why it is not believed.
        text: What an undecided device said, its first 1,000 characters. Empty for
            what came without encryption: of that nothing is kept.
        device: The number of the device that is undecided; 0 for none.
        fingerprint: Of that device, 64 hex digits, to compare and decide; empty for
            none.
        at: When the server got it, in UTC.
    """

    sender: JID
    room: JID | None
    doubt: Doubt
    text: str = field(default="", repr=False)
    device: int = 0
    fingerprint: str = ""
    at: datetime

    @property
    def place(self) -> JID:
        """Where an answer would go: the room, or the sender."""
        return self.room or self.sender


def read_doubt(event: Event) -> Untrusted | None:
    """Return what is not believed about an event; None if there is nothing to hear."""
    match event:
        case Message(trust=Doubt.UNDECIDED):
            return Untrusted(
                sender=event.sender.bare,
                room=event.room,
                doubt=Doubt.UNDECIDED,
                text=event.text[:_TEXT],
                device=event.device,
                fingerprint=event.fingerprint,
                at=event.at,
            )
        case Undecryptable(plaintext=True):
            return Untrusted(
                sender=event.sender.bare,
                room=event.room,
                doubt=Doubt.PLAINTEXT,
                at=event.at,
            )
        case _:
            return None


class Doorstep:
    """Says what of it is looked at, so that nobody is busy with strangers alone.

    Args:
        own: The bot's account: what its other devices say is nobody's.
        clock: Says how late it is.
    """

    def __init__(self, own: JID, clock: Clock) -> None:
        self._own = own.bare
        self._each = Limiter(_EACH, clock)
        self._all = Limiter(_ALL, clock)

    def look_at(self, event: Event) -> Untrusted | None:
        """Return what is handed on of an event; None if nothing is, or no more."""
        found = read_doubt(event)
        if found is None or found.sender == self._own:
            return None
        if self._each.take(found.sender) or self._all.take(_ANYBODY):
            return None
        return found
