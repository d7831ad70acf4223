"""What a bot says, no faster than it may: in all, and to each.

A program that has gone wild is the likeliest sender of a flood, and a server cuts off
who floods it. What comes too fast waits, in its order; nothing is dropped here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from xmpp_onion.address import JID
from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.limits import Limiter
from xmpp_onion.bot.line import Line
from xmpp_onion.bot.memory import Notebook
from xmpp_onion.bot.rates import Rate
from xmpp_onion.chat import Delivery, Message, Progress, Said
from xmpp_onion.files import PAGE_BYTES
from xmpp_onion.reader import Claim
from xmpp_onion.rooms import Room
from xmpp_onion.store import Write

__all__ = ["PacedLine"]

_ALL: Final = "all"


class PacedLine:
    """An account that takes its time; see :class:`~xmpp_onion.bot.line.Line`.

    A ``Room`` of its and the ``Message.reply`` of what comes take it as well.

    Args:
        line: The account.
        clock: Says how late it is, and waits.
        rate: How much it says in all.
        each: How much it says to one person or room.
    """

    def __init__(self, line: Line, clock: Clock, rate: Rate, each: Rate) -> None:
        self._line = line
        self._clock = clock
        self._all = Limiter(rate, clock)
        self._each = Limiter(each, clock)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def _wait(self, to: str) -> None:
        """Return when something may be said to somebody, in the order of asking."""
        for limiter, name in ((self._each, str(JID(to).bare)), (self._all, _ALL)):
            turn = self._turns.setdefault(name, asyncio.Lock())
            async with turn:
                while (seconds := limiter.take(name)) > 0:
                    await self._clock.sleep(seconds)

    @property
    def jid(self) -> JID:
        """Whose it is."""
        return self._line.jid

    @property
    def notes(self) -> Notebook:
        """What is to be known after a restart."""
        return self._line.notes

    def accepts(self, message: Said) -> bool:
        """Tell whether the policy accepts the device that it came from."""
        return self._line.accepts(message)

    async def claims(self) -> AsyncGenerator[Claim, None]:
        """Yield what happens; each has to be said to be handled."""
        async with aclosing(self._line.claims()) as claims:
            async for claim in claims:
                event = claim.event
                if isinstance(event, Message):
                    claim = replace(claim, event=replace(event, _answer=self.send))  # noqa: PLW2901 - the same, told otherwise
                yield claim

    def connections(self) -> AsyncIterator[None]:
        """Yield each time that the account is there, again."""
        return self._line.connections()

    @property
    def is_away(self) -> bool:
        """Whether the connection is known to be down, and is being made anew."""
        return self._line.is_away

    async def ping(self, timeout: float) -> None:
        """Ask the server something; raises if no answer comes in time."""
        await self._line.ping(timeout)

    async def queued(self) -> int:
        """Return how many stanzas wait for the server's ack."""
        return await self._line.queued()

    async def queue(
        self,
        to: str,
        text: str,
        *,
        expires: timedelta | None = None,
        timeout: float | None = None,
        along: Write | None = None,
    ) -> Delivery:
        """Encrypt, and return when it is on the disk, with what goes along."""
        await self._wait(to)
        return await self._line.queue(
            to, text, expires=expires, timeout=timeout, along=along
        )

    async def send(
        self, to: str, text: str, *, reply_to: Message | str = ""
    ) -> Delivery:
        """Encrypt, and return when the server has it."""
        await self._wait(to)
        return await self._line.send(to, text, reply_to=reply_to)

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Encrypt and store a file, and send its link."""
        await self._wait(to)
        return await self._line.send_file(to, path, progress)

    async def fetch(self, url: str, *, limit_bytes: int = PAGE_BYTES) -> bytes:
        """Fetch a page of an onion service."""
        return await self._line.fetch(url, limit_bytes=limit_bytes)

    async def correct(self, to: str, message_id: str, text: str) -> Delivery:
        """Say what a message of ours should have said."""
        await self._wait(to)
        return await self._line.correct(to, message_id, text)

    async def react(self, to: str, message_id: str, *emojis: str) -> Delivery:
        """Say what we feel about a message."""
        await self._wait(to)
        return await self._line.react(to, message_id, *emojis)

    async def retract(self, to: str, message_id: str) -> Delivery:
        """Take a message of ours back."""
        await self._wait(to)
        return await self._line.retract(to, message_id)

    def room(self, jid: str) -> Room:
        """Return a room, where what is said waits for its turn."""
        return self._line.room(jid).paced(self._wait)
