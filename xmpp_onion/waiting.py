"""The waiting room: messages whose keys a silent server does not give.

They wait on the disk, so that those of others need not wait for them. Nothing of a
contact is given up because a server is silent for a while: its keys are asked for
again and again, for a week. What strangers sent is given up after three questions.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from xmpp_onion.address import JID
from xmpp_onion.e2ee import Omemo, reader_ids, sender_ids
from xmpp_onion.errors import DeviceListError
from xmpp_onion.session import Incoming, Session, read_waiting, write_incoming
from xmpp_onion.store import Database, SetAside, WaitingRow
from xmpp_onion.strangers import Strangers

__all__ = ["NETWORK_PAUSE", "HandOver", "WaitingRoom"]

HandOver: TypeAlias = Callable[[Incoming, DeviceListError | None], Awaitable[None]]
"""Reads a message whose keys came, or whose keys will not come."""

# Seconds that the server of a contact may take for keys before the message is set
# aside: over Tor, a first connection between two servers takes a few.
_PATIENCE: Final = 10.0
# Senders whose keys are asked for at once: so many contacts, and so many strangers.
# Those who wait for the next question do not count.
_SERVED_AT_ONCE: Final = 8
# Seconds until keys are asked for again after the server did not answer; for
# contacts twice as long each time, up to the longest.
NETWORK_PAUSE = 1.0
_LONGEST_PAUSE: Final = 600.0
# Questions after which the messages of a stranger are given up; those of a contact
# whose keys are at hand need not wait any more then for those that have none.
_ATTEMPTS: Final = 3
# How long a contact's message waits: a server that is away for longer than that is
# hardly coming back, and its people should learn that they were not read.
_GIVEN_UP_AFTER: Final = timedelta(days=7)


class WaitingRoom:
    """Keeps what cannot be read yet, and has it read as soon as it can be.

    Args:
        database: Of the account.
        session: Keys are asked for there.
        omemo: Asks for them.
        strangers: Says who is one.
        own: Our bare JID.
        hand_over: Gets each message when its time has come, one sender's in their
            order.

    Attributes:
        patience: Seconds that the server of a contact may take for keys before a
            message is set aside.
    """

    def __init__(
        self,
        database: Database,
        session: Session,
        omemo: Omemo,
        *,
        strangers: Strangers,
        own: JID,
        hand_over: HandOver,
    ) -> None:
        self.patience = _PATIENCE
        self._database = database
        self._rows = SetAside(database)
        self._session = session
        self._omemo = omemo
        self._strangers = strangers
        self._own = own.bare
        self._hand_over = hand_over
        self._overtaken: set[str] = set()
        self._asked: set[tuple[str, int]] = set()
        self._somebody = asyncio.Event()
        self._anew = asyncio.Event()
        self._places = {
            is_stranger: asyncio.Semaphore(_SERVED_AT_ONCE)
            for is_stranger in (False, True)
        }

    # --- who has to wait ---------------------------------------------------------

    def asks_for(self, incoming: Incoming) -> bool:
        """Tell whether the keys of the device that sent a message are asked for."""
        return not self._devices_of(incoming) - self._asked

    @staticmethod
    def _devices_of(incoming: Incoming) -> set[tuple[str, int]]:
        ids = sender_ids(incoming.encrypted)
        return {(incoming.sender.bare, device_id) for device_id in ids}

    async def must_wait(self, incoming: Incoming) -> bool:
        """Tell whether a message that is new cannot be read now.

        What follows on a message that waits does, too, so that each sender's order
        stays. Nobody waits while the keys of a stranger are asked for, and nobody
        twice for a server that is known to be silent.
        """
        is_ours = self._omemo.device_id in reader_ids(incoming.encrypted)
        if not is_ours:
            return False  # no keys make it readable
        is_behind = incoming.sender.bare in await self._rows.senders()
        if is_behind and not await self._may_overtake(incoming):
            return True
        if await self._is_at_hand(incoming):
            return False
        if is_behind or await self._is_strangers(incoming):
            return True
        if await self._is_silent(incoming.sender.domain):
            return True
        return not await self._come_soon(incoming)

    async def _is_strangers(self, incoming: Incoming) -> bool:
        """Tell whether little patience is due: it is of nobody who was let in."""
        is_alone = incoming.room is None
        return is_alone and await self._strangers.is_stranger(incoming.sender)

    async def _may_overtake(self, incoming: Incoming) -> bool:
        """Tell whether a message need not wait behind those of its sender.

        What one device sent stays in its order.
        """
        sender = incoming.sender.bare
        if sender not in self._overtaken:
            return False
        ids = sender_ids(incoming.encrypted)
        return not any(
            [await self._rows.holds(sender, f'sid="{number}"') for number in ids]
        )

    async def _is_silent(self, domain: str) -> bool:
        """Tell whether others at a server of others wait already."""
        waiting = {JID(each).domain for each in await self._rows.senders()}
        return domain != self._own.domain and domain in waiting

    async def _come_soon(self, incoming: Incoming) -> bool:
        """Fetch what a message needs; False if its sender's server is silent."""
        while True:
            await self._session.wait_online()
            losses = self._session.losses
            try:
                async with asyncio.timeout(self.patience):
                    await self._omemo.fetch_sender(incoming.encrypted, incoming.sender)
            except (DeviceListError, TimeoutError):
                if losses == self._session.losses:
                    return False
                # A connection that broke is no reason to let it wait.
                await asyncio.sleep(NETWORK_PAUSE)
            else:
                return True

    async def keep(self, incoming: Incoming) -> bool:
        """Set a message aside; False if there is no room. In a transaction.

        Call :meth:`look` when it is on the disk.
        """
        row = WaitingRow(
            key=incoming.key,
            sender=incoming.sender.bare,
            stanza_xml=write_incoming(incoming),
            stanza_id=incoming.stanza_id,
            at=incoming.at,
            since=datetime.now(UTC),
            is_stranger=await self._is_strangers(incoming),
        )
        is_kept = await self._rows.add(row)
        if is_kept:
            self._asked |= self._devices_of(incoming)
        return is_kept

    # --- who is served -----------------------------------------------------------

    def look(self) -> None:
        """Look into the room: somebody came."""
        self._somebody.set()

    def begin_anew(self) -> None:
        """Ask for all keys now: the session is new."""
        anew, self._anew = self._anew, asyncio.Event()
        anew.set()
        self.look()

    async def run(self) -> None:
        """Have read what was set aside as soon as it can be, until cancelled."""
        served: set[str] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._somebody.wait()
                self._somebody.clear()
                for sender in await self._rows.senders() - served:
                    served.add(sender)
                    tasks.create_task(self._serve(sender, served))

    async def _serve(self, sender: str, served: set[str]) -> None:
        """Have all read that waits of one sender, in its order."""
        failures = 0
        while row := await self._rows.first(sender):
            failure = await self._serve_row(row, failures)
            if failure is None:
                failures = 0
                continue
            failures += 1
            if failures == _ATTEMPTS:
                self._overtaken.add(sender)
                await self._serve_behind(row)
            failures = await self._pause(failures)
        self._overtaken.discard(sender)
        self._asked = {one for one in self._asked if one[0] != sender}
        served.discard(sender)
        self.look()  # one more may have come a moment ago

    async def _serve_row(
        self, row: WaitingRow, failures: int
    ) -> DeviceListError | None:
        """Ask for the keys of a message; return why it has to wait on, if it has."""
        incoming = self._read(row)
        if incoming is None:
            await self._remove(row)
            return None
        is_stranger = await self._is_strangers(incoming)
        failure = await self._fetch(incoming, is_stranger=is_stranger)
        if failure is None:
            await self._finish(row, incoming, None)
        elif is_stranger and failures + 1 >= _ATTEMPTS:
            while later := await self._rows.first(row.sender):
                await self._finish(later, self._read(later), failure)
        elif not is_stranger and _is_old(row):
            await self._finish(row, incoming, failure)
        else:
            return failure
        return None

    async def _serve_behind(self, first: WaitingRow) -> None:
        """Have read what waits behind a message, and for nothing but its turn.

        One device without keys must not hold up the others of its owner for long.
        """
        stuck: set[tuple[str, int]] = set()
        row: WaitingRow | None = first
        while row is not None:
            incoming = self._read(row)
            if incoming is not None:
                devices = self._devices_of(incoming)
                is_held_up = row is first or devices & stuck
                if is_held_up or not await self._is_at_hand(incoming):
                    stuck |= devices
                else:
                    await self._finish(row, incoming, None)
            row = await self._rows.first(first.sender, after=row.id)

    async def _is_at_hand(self, incoming: Incoming) -> bool:
        return await self._omemo.is_at_hand(incoming.encrypted, incoming.sender)

    def _read(self, row: WaitingRow) -> Incoming | None:
        incoming = read_waiting(
            row.stanza_xml, own=self._own, at=row.at, stanza_id=row.stanza_id
        )
        # As it was named when it came, whatever writing it did to it.
        return None if incoming is None else replace(incoming, key=row.key)

    async def _finish(
        self,
        row: WaitingRow,
        incoming: Incoming | None,
        failure: DeviceListError | None,
    ) -> None:
        if incoming is not None:
            await self._hand_over(incoming, failure)
        await self._remove(row)

    async def _remove(self, row: WaitingRow) -> None:
        async with self._database.transaction():
            await self._rows.remove(row.key)

    async def _fetch(
        self, incoming: Incoming, *, is_stranger: bool
    ) -> DeviceListError | None:
        """Ask for what a message needs, once; return why that did not work."""
        while True:
            await self._session.wait_online()
            losses = self._session.losses
            try:
                async with self._places[is_stranger]:
                    await self._omemo.fetch_sender(incoming.encrypted, incoming.sender)
            except DeviceListError as error:
                if losses == self._session.losses:
                    return error
                # A connection that broke says nothing about the sender's server.
                await asyncio.sleep(NETWORK_PAUSE)
            else:
                return None

    async def _pause(self, failures: int) -> int:
        """Wait for the next question; return how many failures count then."""
        seconds = min(NETWORK_PAUSE * 2.0 ** min(failures - 1, 20), _LONGEST_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._anew.wait()
                return 0  # asked at once, and patiently again
        return failures


def _is_old(row: WaitingRow) -> bool:
    """Tell whether a contact's message has waited for long enough.

    A clock that was put back makes it wait longer, and loses nothing.
    """
    return datetime.now(UTC) - row.since > _GIVEN_UP_AFTER
