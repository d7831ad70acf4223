"""What may still go out to a room: looked at again when it goes.

A message waits in the outbox as it was encrypted. Meanwhile the room may have let in
everybody, or thrown somebody out: then it waits on, or goes without their keys.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping

from xmpp_onion.address import JID
from xmpp_onion.chat import RoomState
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import Device, reader_ids, withdraw
from xmpp_onion.rooms.joined import Rooms
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
        orphaned = not set(row.readers) - {self._own} and await self._is_alone(row)
        # A device may have been taken out while the row stood in line. Nothing can
        # come between the last look at it and its return.
        while (now := await self._outbox.load(row.id)) is not None:
            if not now.readers:
                return now
            state = self._rooms.state(JID(now.to))
            if state is not None and not orphaned and not self._gone(now, state):
                return now
            async with self._database.transaction():
                now = await self._outbox.load(row.id)
                if now is None:
                    break
                if state is None or orphaned:
                    await self.drop(now, _LEFT if state is None else _NOBODY)
                else:
                    await self._without_members(now, self._gone(now, state))
        return None

    def _gone(self, row: OutboxRow, state: RoomState) -> set[str]:
        """Return who may read a stanza, and is no member any more."""
        return set(row.readers) - {self._own, *state.members}

    async def _without_members(self, row: OutboxRow, gone: Collection[str]) -> None:
        out = {jid: row.readers[jid] for jid in gone}
        if await self._without(row, out, _NOBODY):
            await self._leave_out(row, out)

    async def _leave_out(
        self,
        row: OutboxRow,
        out: Mapping[str, Collection[int]],
        names: Mapping[str, str] | None = None,
    ) -> None:
        for jid, ids in out.items():
            whom = jid if names is None else names.get(jid, jid)
            await self._deliveries.leave_out(
                row.message_id, JID(row.to), whom, devices=len(ids)
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
        jid = str(device.jid.bare)
        if device.device_id not in row.readers.get(jid, ()):
            return None
        others = await self._outbox.others(row)
        # As what is left out from the beginning is named.
        is_last = sum(len(each.readers.get(jid, ())) for each in (row, *others)) == 1
        names = {jid: jid if is_last else f"{jid} {device.fingerprint}"}
        out = {jid: (device.device_id,)}
        better = await self._without(row, out, why, names)
        if better:
            await self._leave_out(row, out, names)
        return better

    async def _without(
        self,
        row: OutboxRow,
        out: Mapping[str, Collection[int]],
        why: str,
        names: Mapping[str, str] | None = None,
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
        is_ours = not set(left) - {self._own}
        if not reader_ids(encrypted) or (is_ours and await self._is_alone(row)):
            await self.drop(row, why, names)
            return ""
        better = serialise(stanza)
        await self._outbox.revise(row.id, better, left)
        return better

    async def _is_alone(self, row: OutboxRow) -> bool:
        """Tell whether nobody else reads the message in another of its stanzas."""
        others = await self._outbox.others(row)
        if any(set(other.readers) - {self._own} for other in others):
            return False
        return not await self._arrived(row, others)

    async def _arrived(self, row: OutboxRow, others: Iterable[OutboxRow]) -> int:
        """Return for how many devices the server has the message already.

        Args:
            row: One of its stanzas, as it was before anything was taken out.
            others: The others that wait.
        """
        delivery = await self._deliveries.load(row.message_id)
        waiting = sum(
            len(ids) for each in (row, *others) for ids in each.readers.values()
        )
        return 0 if delivery is None else max(0, delivery.devices - waiting)

    async def drop(
        self, row: OutboxRow, why: str, names: Mapping[str, str] | None = None
    ) -> None:
        """Send a stanza not at all. In a transaction.

        Its message fails if that was all of it. Else who could have read it is named
        as left out, and the message is with the server when the rest is.

        Args:
            row: The stanza.
            why: What to tell where nothing is left.
            names: How to name who is left out, if not by the account.
        """
        others = await self._outbox.others(row)
        arrived = await self._arrived(row, others)
        await self._outbox.remove(row.id)
        if not others and not arrived:
            await self._deliveries.fail(row.message_id, JID(row.to), why)
            return
        await self._leave_out(row, row.readers, names)
        if not others:
            await self._deliveries.acknowledge(row.message_id, row.to)
