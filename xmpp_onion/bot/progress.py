"""How far a file is, told in one message that is edited in place."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, TypeAlias

from xmpp_onion.address import JID
from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.line import Line

__all__ = ["Reporter", "Spawn"]

Spawn: TypeAlias = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]
"""Runs something beside, for as long as the bot runs."""

# Seconds between two edits: each is a message to all devices.
_PAUSE: Final = 5.0


class Reporter:
    """Called with what was moved and what there is; both are bytes.

    Args:
        line: Says it.
        place: Where.
        name: What of.
        clock: Paces it.
        spawn: Runs what edits.
    """

    def __init__(
        self, line: Line, place: JID, name: str, *, clock: Clock, spawn: Spawn
    ) -> None:
        self._line = line
        self._place = place
        self._name = name
        self._clock = clock
        self._spawn = spawn
        self._text = ""
        self._is_running = False
        self._is_over = False

    def __call__(self, done: int, total: int) -> None:
        """Note how far it is, both in bytes."""
        share = 100 * done // total if total else 100
        self._text = f"{self._name}: {share} %"
        self._is_over = done >= total
        if not self._is_running:
            self._is_running = True
            self._spawn(self._tell())

    async def _tell(self) -> None:
        said = self._text
        delivery = await self._line.send(self._place, said)
        while not (self._is_over and said == self._text):
            if not self._is_over:
                await self._clock.sleep(_PAUSE)
            if said != self._text:
                said = self._text
                await self._line.correct(self._place, delivery.id, said)
