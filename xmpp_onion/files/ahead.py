"""Slots that are asked for while something else is being sent.

Each costs a round trip to our server, and a circuit that waits for one stands still.
"""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from xmpp_onion.chat import Slot
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.files.parcel import AskSlot

__all__ = ["Ahead"]

# Seconds that a slot is taken after it was asked for: Prosody 0.12 lets one be used
# for 300, and a circuit may have to be built before.
_FRESH: Final = 120.0


class Ahead:
    """Asks for slots before they are needed; an async context manager.

    Whoever takes one has the next one asked for, while it sends.

    Args:
        ask: Asks for one.
        sizes: Of what will be stored, but for what is stored first over each circuit.
    """

    def __init__(self, ask: AskSlot, sizes: Iterable[int]) -> None:
        self._ask = ask
        self._later = iter(sizes)
        self._tasks = asyncio.TaskGroup()
        self._asked: dict[int, list[tuple[float, asyncio.Task[Slot | None]]]] = {}
        self._now = asyncio.get_running_loop().time

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for asked in self._asked.values():
            for _, task in asked:
                task.cancel()
        # Without the error: a group would wrap it, and there is nothing left to cancel.
        await self._tasks.__aexit__(None, None, None)

    async def ask(self, size: int) -> Slot:
        """Return a slot, one that was asked for if there is any.

        Raises:
            FileError: The server does not take it.
            SessionError: There is no connection, or no answer.
        """
        slot = await self._planned(size) or await self._ask(size)
        if planned := next(self._later, 0):
            task = self._tasks.create_task(self._try(planned))
            self._asked.setdefault(planned, []).append((self._now(), task))
        return slot

    async def _planned(self, size: int) -> Slot | None:
        asked = self._asked.get(size, [])
        while asked:
            at, task = asked.pop(0)
            if self._now() - at < _FRESH and (slot := await task) is not None:
                return slot
        return None

    async def _try(self, size: int) -> Slot | None:
        """Return a slot, or nothing: who needs it asks again, and is told why."""
        try:
            return await self._ask(size)
        except XmppOnionError:
            return None
