"""An answer that grows, as a language model writes it, in one message."""

from collections.abc import AsyncIterable
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.line import Line
from xmpp_onion.chat import Delivery

__all__ = ["tell_stream"]

# Seconds between two edits at first, and at most. Each is a message to all devices
# with all of the text: with pauses that grow, a long answer costs few of them.
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 30.0
_GROWTH: Final = 1.5


async def tell_stream(
    line: Line, place: JID, pieces: AsyncIterable[str], clock: Clock
) -> Delivery | None:
    """Say what comes piece by piece; see ``Context.stream``."""
    text = said = ""
    delivery: Delivery | None = None
    pause, due = _FIRST_PAUSE, 0.0
    async for piece in pieces:
        text += piece
        if not text.strip():
            continue
        if delivery is None:
            delivery = await line.send(place, text)
        elif clock.monotonic() >= due:
            await line.correct(place, delivery.id, text)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        else:
            continue
        said, due = text, clock.monotonic() + pause
    if delivery is not None and said != text:
        await line.correct(place, delivery.id, text)
    return delivery
