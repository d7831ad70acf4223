"""What we tell contacts, if we want to: that their messages arrived.

It is owed from the transaction of the message until that of the answer: a process
that dies in between forgets none and says none twice. Nobody may depend on it: what
cannot be said inside of an envelope is left unsaid.
"""

import asyncio
from collections.abc import Awaitable, Callable

from xmpp_onion.address import JID
from xmpp_onion.store import Database, Moment, Owed, OwedRow, reading

__all__ = ["Confirmations"]


class Confirmations:
    """The confirmations of one account.

    Args:
        database: Of the account.
        may: Whether somebody may know that we got something.
        ready: Set when the contact list and what was missed are taken in: another
            device of ours may have answered meanwhile.
    """

    def __init__(
        self,
        database: Database,
        may: Callable[[JID], bool],
        ready: asyncio.Event,
    ) -> None:
        self._database = database
        self._rows = Owed(database)
        self._may = may
        self._ready = ready
        self._due = asyncio.Event()
        self._has_more = False
        database.at(Moment.ENDED, self._tell)  # who is woken reads what is on the disk
        database.on_rollback(self._forget)

    async def owe(self, to: JID, message_id: str) -> None:
        """Owe a sender word, if he may know. In the transaction of the message."""
        if message_id and self._may(to.bare):
            await self._rows.add(OwedRow(to.bare, message_id))
            self._has_more = True

    async def settle(self, to: JID, message_id: str) -> None:
        """Owe it no longer: it is said, by this or another device. In a transaction."""
        await self._rows.remove(to.bare, message_id)

    async def run(self, say: Callable[[JID, str], Awaitable[bool]]) -> None:
        """Say what is owed, in its order, until cancelled.

        Args:
            say: Settles it in the transaction in which it accepts the message; false
                if it will never be possible.
        """
        await self._ready.wait()
        while True:
            self._due.clear()
            while row := await self._rows.first():
                with reading(self._database.path, "owed"):
                    to = JID(row.to)
                if not self._may(to) or not await say(to, row.message_id):
                    async with self._database.transaction():
                        await self.settle(to, row.message_id)
            await self._due.wait()

    def _tell(self) -> None:
        """Look at the rows, if a transaction added one: most add none."""
        if self._has_more:
            self._has_more = False
            self._due.set()

    def _forget(self) -> None:
        self._has_more = False
