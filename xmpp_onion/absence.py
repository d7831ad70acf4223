"""What came while we were away, on its way in, and what has to wait for it.

The archive is read twice after a login: before the world sees us, and once more for
what it got until then. Live messages stand behind both.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from xmpp_onion.backlog import Backlog
from xmpp_onion.clerk import Clerk
from xmpp_onion.courier import Courier
from xmpp_onion.e2ee import Omemo
from xmpp_onion.session import Incoming
from xmpp_onion.store import Cursor, Database

__all__ = ["Absence"]


class Absence:
    """The time since the last session, as it is read from the archive.

    Args:
        database: Of the account.
        omemo: Keeps used pre-keys meanwhile.
        courier: Carries what is to be answered after it.
        clerk: Takes in each message.
        backlog: What the archive has.
        get_on: Called for each page: whoever waits for a login sees it get on.

    Attributes:
        settling: Reads what the archive got until the world saw us.
        retrying: Reads an archive that could not be read, when it can.
    """

    def __init__(
        self,
        database: Database,
        omemo: Omemo,
        courier: Courier,
        *,
        clerk: Clerk,
        backlog: Backlog,
        get_on: Callable[[], None],
    ) -> None:
        self.settling: asyncio.Task[None] | None = None
        self.retrying: asyncio.Task[None] | None = None
        self._database = database
        self._omemo = omemo
        self._courier = courier
        self._clerk = clerk
        self._backlog = backlog
        self._get_on = get_on
        self._is_readable = False

    def begin(self) -> None:
        """Expect what came meanwhile: a fresh session has begun."""
        self.stop()
        self._omemo.begin_history()

    async def read(self) -> None:
        """Take in what came until now; live messages move no cursor after it.

        Raises:
            XmppOnionError: The session has ended for good.
        """
        await self._read_once()
        self._is_readable = self._backlog.pause()

    def settle(self, tasks: asyncio.TaskGroup) -> None:
        """Take in what came until the world saw us; live messages wait for it."""
        self.settling = tasks.create_task(self._settle(tasks))

    def stop(self) -> None:
        """Read no more."""
        for task in (self.settling, self.retrying):
            if task is not None:
                task.cancel()

    async def wait_for_older(self, incoming: Incoming) -> None:
        """Let what the archive got before a live message come first.

        What is known already need not wait: the offline store repeats all that the
        archive had, and the archive's answer stands behind that.
        """
        settling = self.settling
        if settling is None or settling.done():
            return
        if not await self._clerk.is_known(incoming):
            await asyncio.wait([settling])

    def place_of(self, incoming: Incoming) -> Cursor | None:
        """Return what a live message says about where the archive is.

        Nothing if others may come before it there: what was kept for us meanwhile
        is sent out of order.
        """
        if incoming.stanza_id and not incoming.delayed and self._backlog.is_taken_in:
            return Cursor(incoming.stanza_id, incoming.at)
        return None

    async def _read_once(self) -> None:
        """Take in what the archive has after the last message that we kept."""
        async with aclosing(self._backlog.steps()) as pages:
            async for steps in pages:
                self._get_on()
                await self._clerk.fetch_senders(steps)
                for step in steps:
                    await self._clerk.take_step(step)

    async def _settle(self, tasks: asyncio.TaskGroup) -> None:
        if self._is_readable:
            await self._read_once()
        async with self._database.transaction():
            await self._omemo.end_history()
            await self._courier.keep_effects()
        self._clerk.room.begin_anew()
        self.retrying = tasks.create_task(self._retry())

    async def _retry(self) -> None:
        """Read an archive that could not be read, when it can; nobody waits for it."""
        async with aclosing(self._backlog.retries()) as retries:
            async for _ in retries:
                await self._read_once()
