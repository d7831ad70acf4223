"""Erases what has had its time: what came, read or not, and what did not go out.

What was handed out is the reader's: nobody can take it back there. Deleted rows are
overwritten in the file, and the log of the store is emptied.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.courier import Courier
from xmpp_onion.store import Database, Inbox, Outbox
from xmpp_onion.timers import Timers, is_over

__all__ = ["Expiry"]

# Seconds until it is looked again, at the latest: a computer that slept, or whose
# clock was set, is not told when it is late.
_LOOK_AGAIN: Final = 60.0
# And at the soonest: what is on its way now stays until the server has it, or until
# the connection breaks, and each look costs a sync of the disk.
_SOONEST: Final = 1.0


class Expiry:
    """Erases in its time, and at once when it starts.

    Args:
        database: Of the account.
        courier: Gives up what could not be sent in its time.
        timers: Tells when something was kept that is to be erased.
        now: The time; tests pass their own.
    """

    def __init__(
        self,
        database: Database,
        courier: Courier,
        timers: Timers,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._inbox, self._outbox = Inbox(database), Outbox(database)
        self._courier = courier
        self._due = timers.due
        self._now = now

    async def run(self) -> None:
        """Erase until cancelled."""
        while True:
            self._due.clear()
            await self.erase()
            pause = await self._pause()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def erase(self) -> bool:
        """Erase what has had its time; tell if there was something."""
        now = self._now()
        if not is_over(await self._inbox.next_expiry(), now) and not is_over(
            await self._outbox.next_expiry(), now
        ):
            return False
        async with self._database.transaction():
            await self._inbox.erase(now)
            for row in await self._outbox.expired(now):
                await self._courier.give_up(row)
        await self._database.wipe_log()
        return True

    async def _pause(self) -> float | None:
        """Return the seconds until something is due; None if nothing is kept."""
        times = (await self._inbox.next_expiry(), await self._outbox.next_expiry())
        if not any(times):
            return None
        first = min(time for time in times if time is not None)
        left = (first - self._now()).total_seconds()
        return min(max(left, _SOONEST), _LOOK_AGAIN)
