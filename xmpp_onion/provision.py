"""The keys that a message needs, got before it is encrypted, or known already.

While the network is away, or hangs, a message to somebody whose devices all have a
session with us needs nothing from it: it is encrypted at once, and waits on the disk.
"""

import asyncio
from collections.abc import Collection
from typing import Final
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.e2ee import Omemo
from xmpp_onion.session import Session
from xmpp_onion.store import Database

__all__ = ["Provision"]

# Seconds that an answer about keys is waited for, if we could do without. Two flights
# through Tor take less; a circuit that is dead is noticed much later.
_PATIENCE: Final = 5.0


class Provision:
    """Fetches the keys that encryption needs.

    Args:
        database: Of the account.
        session: Tells whether somebody can be asked.
        omemo: Knows what is missing.
        patience: Seconds to wait for an answer that is not needed.
    """

    def __init__(
        self,
        database: Database,
        session: Session,
        omemo: Omemo,
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self._database = database
        self._session = session
        self._omemo = omemo
        self._patience = patience

    @property
    def losses(self) -> int:
        """How many connections broke: what :meth:`fetch` left out may be due to one."""
        return self._session.losses

    async def is_spared(self, jids: Collection[JID]) -> bool:
        """Tell whether nobody can be asked now, and nothing has to be."""
        return self._session.is_away and await self._is_at_hand(jids)

    async def stamps(self, to: JID, deadline: float | None) -> tuple[ET.Element, ...]:
        """Return the stamp that a word to a stranger needs.

        None while the network is away, or if the time is over: then the server of
        whoever it is for says so, if it wants one.

        Args:
            to: Who shall have it.
            deadline: Time of the loop; None waits until a server does not answer.

        Raises:
            StampError: Their server asks for too much work.
        """
        if self._session.is_away:
            return ()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._session.stamps.get(to)
        except TimeoutError:
            return ()

    async def fetch(self, jids: Collection[JID], deadline: float | None) -> int:
        """Fetch what is missing; return how many connections broke before.

        Waits for a connection, and for an answer, only as long as that can matter.

        Args:
            jids: For whom something is to be encrypted.
            deadline: Time of the loop; None waits for ever.

        Raises:
            TimeoutError: Something is missing that did not come in time.
            XmppOnionError: The session has ended for good.
        """
        try:
            async with asyncio.timeout_at(deadline):
                return await self._fetch(jids)
        except TimeoutError:
            if not await self._is_at_hand(jids):
                raise
            return self._session.losses

    async def _fetch(self, jids: Collection[JID]) -> int:
        if await self.is_spared(jids):
            return self._session.losses
        await self._session.wait_online()
        losses = self._session.losses
        if await self._omemo.has_all_for(jids):
            return losses  # a task of its own would take as long as to encrypt
        async with asyncio.TaskGroup() as tasks:
            fetching = tasks.create_task(self._omemo.fetch(jids))
            await asyncio.wait([fetching], timeout=self._patience)
            if not fetching.done() and await self._is_at_hand(jids):
                fetching.cancel()
        return losses

    async def _is_at_hand(self, jids: Collection[JID]) -> bool:
        async with self._database.transaction():
            return await self._omemo.is_ready_for(jids)
