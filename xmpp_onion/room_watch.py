"""What may still go out to a room: looked at again when it goes.

A message waits in the outbox as it was encrypted. Meanwhile the room may have let in
everybody, or thrown somebody out: then it waits on, or goes without their keys.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from xmpp_onion.address import JID
from xmpp_onion.chat import RoomState
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import reader_ids, withdraw
from xmpp_onion.rooms import Rooms
from xmpp_onion.session import parse_sent, serialise
from xmpp_onion.store import Database, Outbox, OutboxRow

__all__ = ["RoomWatch", "may_hear"]

_LEFT = "we left the room before it could be sent"
_NOBODY = "everybody that it was for was taken out of the room while it waited"


def may_hear(state: RoomState) -> bool:
    """Tell whether something may be said in a room now."""
    return state.is_joined and state.is_private and not state.unaccepted


class RoomWatch:
    """Stands between the outbox and the rooms.

    Args:
        database: Of the account.
        rooms: What each is now.
        deliveries: Where it is noted who is left out.
        own: Our account; our own other devices may always read.
    """

    def __init__(
        self, database: Database, rooms: Rooms, deliveries: Deliveries, *, own: JID
    ) -> None:
        self._database = database
        self._outbox = Outbox(database)
        self._rooms = rooms
        self._deliveries = deliveries
        self._own = own.bare

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change of any room."""
        return self._rooms.changed

    def must_wait(self, row: OutboxRow) -> bool:
        """Tell whether a stanza is for a room that must not get it now."""
        state = self._rooms.state(JID(row.to)) if row.readers else None
        return state is not None and not may_hear(state)

    async def admit(self, row: OutboxRow) -> OutboxRow | None:
        """Return what may go out of a stanza; None if that is nothing, for good.

        Who is no member any more reads nothing of it: their keys are taken out. At
        once, without waiting for anything, where all are still members.
        """
        if not row.readers:
            return row
        while True:
            state = self._rooms.state(JID(row.to))
            gone = set(row.readers) - {self._own, *(state.members if state else ())}
            if state is not None and not gone:
                return row
            async with self._database.transaction():
                if state is None:
                    await self._fail(row, _LEFT)
                    return None
                better = await self._without(row, gone)
            if better is None:
                return None
            row = better  # who went while that was written is looked for again

    async def _without(self, row: OutboxRow, gone: Collection[str]) -> OutboxRow | None:
        """Take the keys of some accounts out of a stanza. In a transaction."""
        stanza = parse_sent(row.stanza_xml)
        encrypted = stanza.findall("{*}encrypted")
        for jid in gone:
            withdraw(encrypted, JID(jid), row.readers[jid])
        left = {jid: ids for jid, ids in row.readers.items() if jid not in gone}
        if not set(left) - {self._own} or not reader_ids(encrypted):
            await self._fail(row, _NOBODY)
            return None
        better = replace(row, stanza_xml=serialise(stanza), readers=left)
        await self._outbox.revise(row.id, better.stanza_xml, left)
        for jid in gone:
            await self._deliveries.leave_out(
                row.message_id, JID(row.to), jid, devices=len(row.readers[jid])
            )
        return better

    async def _fail(self, row: OutboxRow, why: str) -> None:
        await self._outbox.remove(row.id)
        await self._deliveries.fail(row.message_id, JID(row.to), why)
