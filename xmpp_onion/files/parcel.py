"""An object on its way to a server, until that has said that it has it."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from xmpp_onion.chat import Place, Slot
from xmpp_onion.files.http import Wire

__all__ = ["AskSlot", "Parcel"]

AskSlot: TypeAlias = Callable[[int], Awaitable[Slot]]
"""Returns a new slot for an object of so many bytes."""


@dataclass(slots=True, eq=False, kw_only=True)
class Parcel:
    """What is stored, and how far it is.

    Each try has a slot of its own: a server need not take one twice. If it keeps what
    broke off, the object goes on instead where that ends.

    Attributes:
        ask: Asks for a slot.
        size: Bytes of the object.
        pieces: Begins the object anew; what it yields has ``size`` bytes.
        told: Told how many bytes of it are out, at each try.
        done: Told where it is, when the server has it.
        again: Yields the very bytes of the last try again; None if nobody can.
        slot: Of the last try.
        best: How many bytes were out, at most.
        wire: What it is out on, all of it.
    """

    ask: AskSlot
    size: int
    pieces: Callable[[], Iterable[bytes]]
    told: Callable[[int], None]
    done: Callable[[Place], Awaitable[None]]
    again: Callable[[], Iterable[bytes]] | None = None
    slot: Slot | None = None
    best: int = 0
    wire: Wire | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the server keeps what breaks off, and the rest can be sent to it."""
        return bool(self.slot and self.slot.resume and self.again)
