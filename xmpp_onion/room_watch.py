"""What may still go out to a room: looked at again when it goes.

A message waits in the outbox as it was encrypted. Meanwhile the room may have let in
everybody, or thrown somebody out: then it waits on, or goes without their keys.
"""

import asyncio
from collections.abc import Collection, Mapping

from xmpp_onion.address import JID
from xmpp_onion.chat import RoomState
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import Device, reader_ids, withdraw
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

        Who is no member any more reads nothing of it: their keys are taken out.
        """
        # A device may have been taken out while the row stood in line. Nothing can
        # come between the last look at it and its return.
        while (now := await self._outbox.load(row.id)) is not None:
            if not now.readers:
                return now
            state = self._rooms.state(JID(now.to))
            if state is not None and not self._gone(now, state):
                return now
            async with self._database.transaction():
                now = await self._outbox.load(row.id)
                if now is None:
                    break
                if state is None:
                    await self._fail(now, _LEFT)
                else:
                    await self._without_members(now, self._gone(now, state))
        return None

    def _gone(self, row: OutboxRow, state: RoomState) -> set[str]:
        """Return who may read a stanza, and is no member any more."""
        return set(row.readers) - {self._own, *state.members}

    async def _without_members(self, row: OutboxRow, gone: Collection[str]) -> None:
        out = {jid: row.readers[jid] for jid in gone}
        if await self._without(row, out, _NOBODY):
            for jid, ids in out.items():
                await self._deliveries.leave_out(
                    row.message_id, JID(row.to), jid, devices=len(ids)
                )

    async def take_out(self, row: OutboxRow, device: Device, why: str) -> str | None:
        """Take a device's key out of a stanza to a room. In a transaction.

        Args:
            row: The stanza.
            device: Whose key.
            why: What to tell where nobody is left to read it.

        Returns:
            What goes out now, empty if that is nothing; None if the device had no key.
        """
        jid = device.jid.bare
        if device.device_id not in row.readers.get(jid, ()):
            return None
        better = await self._without(row, {jid: (device.device_id,)}, why)
        if better:
            # As what is left out from the beginning is named.
            is_last = len(row.readers[jid]) == 1
            whom = str(jid) if is_last else f"{jid} {device.fingerprint}"
            await self._deliveries.leave_out(row.message_id, JID(row.to), whom)
        return better

    async def _without(
        self, row: OutboxRow, out: Mapping[str, Collection[int]], why: str
    ) -> str:
        """Take some keys out of a stanza; return what goes out now, as above."""
        stanza = parse_sent(row.stanza_xml)
        encrypted = stanza.findall("{*}encrypted")
        for jid, ids in out.items():
            withdraw(encrypted, JID(jid), ids)
        left = {
            jid: some
            for jid, ids in row.readers.items()
            if (some := tuple(each for each in ids if each not in out.get(jid, ())))
        }
        if not set(left) - {self._own} or not reader_ids(encrypted):
            await self._fail(row, why)
            return ""
        better = serialise(stanza)
        await self._outbox.revise(row.id, better, left)
        return better

    async def _fail(self, row: OutboxRow, why: str) -> None:
        await self._outbox.remove(row.id)
        await self._deliveries.fail(row.message_id, JID(row.to), why)
