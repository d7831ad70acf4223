"""Carries what the outbox holds to the server, in its order, and does the jobs.

A row stays on disk until the server has acknowledged it. After a session that
could not be resumed the *same bytes* go again: encrypting twice would use up a
ratchet step and show the message twice.
"""

import asyncio
import logging
import secrets
import time
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from weakref import WeakValueDictionary

from xmpp_onion.address import JID
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import (
    Device,
    Omemo,
    Patience,
    Quota,
    RenewSession,
    SendEmpty,
    TellTrust,
    UploadBundle,
    UploadDeviceList,
    Withdraw,
    reader_ids,
    withdraw,
)
from xmpp_onion.errors import (
    DeliveryFailedError,
    DeviceListError,
    NotAcknowledgedError,
)
from xmpp_onion.hopes import Hopes
from xmpp_onion.rooms import RoomWatch
from xmpp_onion.session import Session, message_stanza, parse_sent, serialise
from xmpp_onion.store import Database, JobRow, Moment, Outbox, OutboxRow

__all__ = ["Courier"]

log = logging.getLogger(__name__)

# Rows that wait for the server's ack at once: 600 a second over a round trip of half a
# second are 300, and each may wait for two of them. Memory stays flat, however many
# rows wait: so many are read at once, while those under way take no more than this.
_AT_ONCE = 1024
_READ_AT_ONCE = 128
_BYTES_AT_ONCE = 4 * 1024 * 1024
_UPLOADS = (UploadBundle.kind, UploadDeviceList.kind)
_NO_READER = "while it waited, each device that it was for was distrusted or refused"
_TOO_LATE = "its time was over before the server had confirmed it"
# Sessions that are begun anew at once: after an old copy was put back there may be
# a thousand, each of them a list and a bundle of another server.
_RENEWALS_AT_ONCE = 8
# Bundles that are published at once, and seconds until one more: whoever begins
# session after session with us makes each pre-key that it uses one to replace.
_BUNDLES = 6
_BUNDLE_EVERY = 10.0
# Seconds that whoever leaves gives the disk to say what has not gone out yet.
_LAST_LOOK = 1.0
# Seconds before a job that failed is tried again on the same connection.
_JOB_PAUSE = 30.0
# Word of keys, to devices of which no bundle comes: seconds at most until it is tried
# again, and how often it is: for a week, by then.
_LETTER_PAUSE = 6 * 3600.0
_LETTER_TRIES = 38


class Courier:
    """Brings stanzas and jobs from disk to the server, once the session allows.

    Args:
        database: Of the account.
        outbox: What is on its way.
        session: Where it goes.
        omemo: Knows how to do the jobs: publishing a bundle, a device list.
        deliveries: Where it is noted that the server has a message.
        watch: Says what may go to rooms.
        hopes: What the login has taken along already.
        clock: Seconds that only go forward; tests pass their own.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        session: Session,
        omemo: Omemo,
        *,
        deliveries: Deliveries,
        watch: RoomWatch | None = None,
        hopes: Hopes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bundles = Quota(_BUNDLES, _BUNDLE_EVERY, clock)
        self._letters = Patience(_JOB_PAUSE, _LETTER_PAUSE, _LETTER_TRIES, clock)
        self._database = database
        self._outbox = outbox
        self._session = session
        self._omemo = omemo
        self._deliveries = deliveries
        self._watch = watch
        self._hopes = hopes
        self._parked: dict[str, int] = {}  # rooms that have to wait, from which row on
        self._room_lines: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._early: dict[int, str] = {}  # what became of rows nobody waited for yet
        self._under_way: set[int] = set()
        self._under_way_bytes = 0
        self._is_full = False
        self._acknowledged: list[OutboxRow] = []
        self._is_acknowledging = False
        self._offered = 0  # rows up to this one were offered to this session
        self._open = asyncio.Event()
        self._work = asyncio.Event()
        self._chores = asyncio.Event()
        self._opened = asyncio.Event()
        self._looked = asyncio.Event()  # set at the end of the look that comes next
        self._unbegun = 0  # rows under way that the session was not given yet
        self._all_begun = asyncio.Event()
        self._has_ended = False
        self._failed: dict[int, str] = {}  # by the transaction that is open
        self._has_kept = False
        self._has_failed: dict[int, str] = {}  # by others, not committed
        database.at(Moment.ENDED, self._note_ended)
        database.after_commit(self._tell_failed)
        database.on_rollback(self._forget)
        database.at(Moment.LOST, self._has_failed.clear)

    def open(self) -> None:
        """Let things go out: the session is up and encryption is ready."""
        self._open.set()
        self._opened.set()
        self.wake()

    def hold(self) -> None:
        """Keep everything on disk until ``open``: the session is down."""
        self._open.clear()

    def wake(self) -> None:
        """Look for stanzas in the outbox, and for jobs."""
        self._work.set()
        self._chores.set()

    def look(self) -> None:
        """Look for stanzas in the outbox: some were put there."""
        self._work.set()

    def _note_ended(self) -> None:
        """Go on with what a transaction kept: whoever looks has it committed first."""
        self._has_failed |= self._failed
        self._failed.clear()
        if self._has_kept:
            self._has_kept = False
            self.wake()

    def _forget(self) -> None:
        """Forget what a transaction kept that was undone."""
        self._failed.clear()
        self._has_kept = False

    async def keep_effects(self) -> None:
        """Keep what the ratchet wants from the network, in the same transaction.

        It is begun when that is committed.
        """
        for effect in self._omemo.take_effects():
            self._has_kept = True
            if isinstance(effect, SendEmpty):
                message_id = secrets.token_hex(16)
                element = ET.fromstring(effect.element)  # noqa: S314 - made by e2ee a moment ago
                xml = message_stanza(effect.to, message_id, [element])
                await self._outbox.put(xml, to=effect.to, message_id=message_id)
            elif isinstance(effect, Withdraw):
                await self._withdraw(effect.device)
            else:
                await self._outbox.add_job(effect.kind, effect.payload)

    def expect(self, row_id: int) -> asyncio.Future[None]:
        """Return what completes when the server has the stanza of that row."""
        waiting = self._waiting.setdefault(
            row_id, asyncio.get_running_loop().create_future()
        )
        if row_id in self._early:
            self._tell(row_id, self._early.pop(row_id))
        elif self._has_ended:
            _give_up(waiting)
        return waiting

    async def review(self, whose: JID | None = None) -> None:
        """Take out of what waits each device that the policy accepts no more.

        In a transaction.

        Args:
            whose: The contact whose policy changed. Else all recipients are looked
                at, if the account's policy or a pin is another than before.
        """
        if whose is None and not await self._omemo.policies.take_change():
            return
        everybody = {JID(to).bare for to in await self._outbox.recipients()}
        everybody.add(self._session.jid.bare)
        for jid in everybody if whose is None else {whose}:
            for device in await self._omemo.keyring.refused(jid):
                await self._withdraw(device)
        self._has_kept = True

    async def _withdraw(self, device: Device) -> None:
        """Send to a device nothing that waits.

        Its key is taken out of each stanza. What then has no reader left at the
        recipient fails: it must not look as if it were on its way.

        Args:
            device: One that was distrusted a moment ago.
        """
        own = await self._own_devices()
        after = 0
        while rows := await self._outbox.pending(after=after, limit=_AT_ONCE):
            after = rows[-1].id
            for row in rows:
                if row.readers:
                    await self._withdraw_from_room(row, device)
                elif device.jid.bare in {JID(row.to).bare, self._session.jid.bare}:
                    await self._withdraw_from(row, device, own)

    async def _withdraw_from_room(self, row: OutboxRow, device: Device) -> None:
        if self._watch is None:
            return
        better = await self._watch.take_out(row, device, _NO_READER)
        if better is not None:
            if not better:
                self._failed[row.id] = _NO_READER
            self._session.revise(row.stanza_xml, better)

    async def _withdraw_from(
        self, row: OutboxRow, device: Device, own: Collection[int]
    ) -> None:
        stanza = parse_sent(row.stanza_xml)
        encrypted = stanza.findall("{*}encrypted")
        if not withdraw(encrypted, device.jid, [device.device_id]):
            return
        to = JID(row.to)
        left = reader_ids(encrypted)
        if left.difference(own if to.bare != self._session.jid.bare else ()):
            better = serialise(stanza)
            await self._outbox.revise(row.id, better)
            await self._deliveries.leave_out(row.message_id, to, device.fingerprint)
        else:
            better = ""
            await self._outbox.remove(row.id)
            await self._deliveries.fail(row.message_id, to, _NO_READER)
            self._failed[row.id] = _NO_READER
        # What is under way may have to be sent again.
        self._session.revise(row.stanza_xml, better)

    async def give_up(self, row: OutboxRow) -> None:
        """Do not send what has had its time, unless it is on its way now.

        In a transaction.
        """
        if row.id in self._under_way and self._open.is_set():
            return
        if row.readers and self._watch is not None:
            await self._watch.drop(row, _TOO_LATE)  # others may read other parts
        else:
            await self._outbox.remove(row.id)
            await self._deliveries.fail(row.message_id, JID(row.to), _TOO_LATE)
        self._failed[row.id] = _TOO_LATE
        self._session.revise(row.stanza_xml, "")

    async def _own_devices(self) -> frozenset[int]:
        with suppress(DeviceListError):
            devices = await self._omemo.keyring.devices(self._session.jid.bare)
            return frozenset(device.device_id for device in devices)
        return frozenset()

    def _tell_failed(self) -> None:
        """Tell who waits for the ack of what has failed, once that is on the disk."""
        while self._has_failed:
            self._tell(*self._has_failed.popitem())

    def _tell(self, row_id: int, why: str = "") -> None:
        """Tell who waits for a row that it is acknowledged, or why it never will be.

        Others may bring a row to the disk and the server before whoever put it there
        comes to wait for that.
        """
        waiting = self._waiting.pop(row_id, None)
        if waiting is None:
            self._early[row_id] = why
            if len(self._early) > 2 * _AT_ONCE:
                del self._early[next(iter(self._early))]
        elif not waiting.done():
            if not why:
                waiting.set_result(None)
                return
            waiting.set_exception(
                DeliveryFailedError("the message was not sent", why=why)
            )
            waiting.exception()  # not everybody waits: no warning for that

    async def hand_over(self) -> None:
        """Return when the session was given what is on the disk and may go out now.

        For whoever is about to leave: what was accepted a moment ago need not wait for
        the next login. Nobody waits for its acks, nor for a connection that is down.
        """
        if self._has_ended or not self._open.is_set() or self._session.is_away:
            return
        looked = self._looked
        self._work.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_LOOK):
                await looked.wait()
                while self._unbegun:  # what is for a room is looked at first
                    self._all_begun.clear()
                    await self._all_begun.wait()

    async def run(self) -> None:
        """Carry until cancelled; who still waits then is told so."""
        try:
            await self._run()
        finally:
            self._has_ended = True
            for waiting in self._waiting.values():
                _give_up(waiting)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            # Beside: a message must not wait for the answer to an upload.
            tasks.create_task(self._do_jobs())
            if self._watch is not None:
                tasks.create_task(self._look_after_rooms(self._watch))
            while True:
                await self._work.wait()
                await self._open.wait()
                # Who reads the session's events may be behind: without this a row
                # that the session refuses would be offered again at once.
                await self._session.wait_online()
                self._work.clear()
                looked, self._looked = self._looked, asyncio.Event()
                await self._offer(tasks)
                looked.set()

    async def _offer(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to carry what comes next, as far as there is room."""
        while room := self._room():
            offered = self._offered
            rows = await self._outbox.pending(
                after=offered, limit=room, is_patient=True
            )
            if not rows or offered != self._offered:
                return  # the session ended meanwhile: older rows come first
            for row in rows:
                self._offered = row.id
                if row.id not in self._under_way and not self._is_parked(row):
                    self._note_under_way(row)
                    # Tasks start in this order, so the wire keeps it.
                    tasks.create_task(self._carry(row))
            if len(rows) < room:
                return  # whoever put something there since then has woken us
        self._is_full = True

    def _room(self) -> int:
        """Return how many rows may be read now, to be carried beside the others."""
        if self._under_way_bytes >= _BYTES_AT_ONCE:
            return 0
        return min(_READ_AT_ONCE, max(0, _AT_ONCE - len(self._under_way)))

    def _has_room_again(self) -> bool:
        """Tell whether what had no room may go on: when half of it is free."""
        return (
            len(self._under_way) <= _AT_ONCE // 2
            and self._under_way_bytes <= _BYTES_AT_ONCE // 2
        )

    def _note_under_way(self, row: OutboxRow) -> None:
        self._under_way.add(row.id)
        self._under_way_bytes += len(row.stanza_xml)
        self._unbegun += 1

    def _note_back(self, row: OutboxRow) -> None:
        self._under_way.discard(row.id)
        self._under_way_bytes -= len(row.stanza_xml)

    def _is_parked(self, row: OutboxRow) -> bool:
        """Tell whether a row waits for its room, and all of that behind it."""
        if self._watch is None:
            return False
        if row.to not in self._parked and not self._watch.must_wait(row):
            return False
        self._parked.setdefault(row.to, row.id)
        return True

    async def _look_after_rooms(self, watch: RoomWatch) -> None:
        """Offer again what waits for its room, when something changed in one."""
        while True:
            await watch.changed.wait()
            if self._parked:
                self._offered = min(self._offered, *self._parked.values()) - 1
                self._parked.clear()
                self._work.set()

    async def _begin(self, row: OutboxRow) -> Awaitable[None] | None:
        """Give a row to the session; None if it has to wait, or nothing is left."""
        try:
            return await self._give(row)
        finally:
            self._note_begun()

    async def _give(self, row: OutboxRow) -> Awaitable[None] | None:
        """Do so; those to one room in their order, however long each is looked at."""
        hoped = None if self._hopes is None else self._hopes.take(row.id)
        if hoped is not None:
            return hoped
        if self._watch is None or not row.readers:
            return self._session.send(row.stanza_xml, row.message_id)
        async with self._room_lines.setdefault(row.to, asyncio.Lock()):
            admitted = None
            if not self._is_parked(row):
                admitted = await self._watch.admit(row)
                if admitted is None:
                    self._tell(row.id, _NO_READER)
            if admitted is None:
                self._note_back(row)
                return None
            return self._session.send(admitted.stanza_xml, row.message_id)

    def _note_begun(self) -> None:
        self._unbegun -= 1
        if not self._unbegun:
            self._all_begun.set()

    async def _carry(self, row: OutboxRow) -> None:
        if row.id > self._offered:  # a session ended meanwhile: older rows come first
            self._note_begun()
            self._note_back(row)
            self._work.set()
            return
        try:
            acknowledged = await self._begin(row)
            if acknowledged is None:
                self._work.set()  # there is room again
                return
            await acknowledged
        except NotAcknowledgedError:
            # The session ended and is not coming back; the next one gets the row.
            self._note_back(row)
            self._offered = min(self._offered, row.id - 1)
            self._work.set()
            return
        self._acknowledged.append(row)
        if not self._is_acknowledging:  # else whoever is at it does it for all: a
            # task that waited for its turn would hold a row that nobody counts
            await self._acknowledge_all()

    async def _acknowledge_all(self) -> None:
        self._is_acknowledging = True
        try:
            while self._acknowledged:
                await asyncio.sleep(0)  # until all are here whom the same ack is for
                await self._keep_acknowledged()
        finally:
            self._is_acknowledging = False

    async def _keep_acknowledged(self) -> None:
        """Forget what the server has: all of one ack in one transaction."""
        rows, self._acknowledged = self._acknowledged, []
        async with self._database.transaction():
            for row in rows:
                await self._outbox.remove(row.id)
                # Of what goes to a room in parts, the last one tells.
                if not row.readers or not await self._outbox.has_others(row):
                    await self._deliveries.acknowledge(row.message_id, row.to)
        for row in rows:
            self._note_back(row)
            self._tell(row.id)
        if self._is_full and self._has_room_again():
            self._is_full = False
            self._work.set()

    async def _do_jobs(self) -> None:
        """Do jobs as they come; what fails is tried again after a pause."""
        while True:
            await self._chores.wait()
            await self._open.wait()
            self._chores.clear()
            self._opened.clear()
            if not await self._do_all_jobs():
                # A connection that broke under a job is no reason to wait: until a
                # bundle is uploaded, two strangers may take the same pre-key.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_JOB_PAUSE):
                        await self._opened.wait()
                self._chores.set()

    async def _do_all_jobs(self) -> bool:
        """Do each job once; what comes up meanwhile, too. False if some failed."""
        failed: set[int] = set()
        while self._open.is_set():
            jobs = [job for job in await self._outbox.jobs() if job.id not in failed]
            flight = _next_flight(jobs)
            if not flight:
                break
            async with asyncio.TaskGroup() as tasks:
                doing = [tasks.create_task(self._do_job(job)) for job in flight]
            done = zip(flight, doing, strict=True)
            failed.update(job.id for job, one in done if not one.result())
        return not failed

    async def _do_job(self, job: JobRow) -> bool:
        """Do a job and forget it; False if it stays for a later round."""
        if job.kind == UploadBundle.kind and not self._bundles.take(job.payload):
            log.info("bundles are published too often; this one has to wait")
            return False
        try:
            if job.kind == TellTrust.kind:
                return await self._try_letter(job)
            await self._omemo.perform(job.kind, job.payload)
            async with self._database.transaction():
                await self._omemo.conclude(job.kind, job.payload)
                await self.keep_effects()
                await self._outbox.remove_job(job.id)
        except Exception as error:  # noqa: BLE001 - a job that cannot be done, one of a newer version perhaps, must not end the program with each login
            log.info("a job has to wait: %s (%s)", job.kind, type(error).__name__)
            return False
        self._work.set()  # it may have something to send
        return True

    async def _try_letter(self, job: JobRow) -> bool:
        """Tell others of keys; what none of their devices can read is given up."""
        if not self._letters.is_due(job.payload):
            return False
        try:
            await self._tell_trust(job)
        except DeviceListError:
            if self._letters.fail(job.payload):
                raise
            to = self._omemo.addressee(job.payload).short
            log.warning("%s: no verified device can be told of keys; given up", to)
            async with self._database.transaction():
                await self._outbox.remove_job(job.id)
        self._letters.forget(job.payload)
        return True

    async def _tell_trust(self, job: JobRow) -> None:
        """Put what verified devices should know into the outbox, once."""
        await self._omemo.fetch([self._omemo.addressee(job.payload)])
        async with self._database.transaction():
            written = await self._omemo.encrypt_letter(job.payload)
            if written is not None:
                to, encrypted = written
                message_id = secrets.token_hex(16)
                xml = message_stanza(to, message_id, encrypted.elements, silent=True)
                await self._outbox.put(xml, to=to, message_id=message_id)
            await self.keep_effects()
            await self._outbox.remove_job(job.id)
        self._work.set()


def _next_flight(jobs: Sequence[JobRow]) -> Sequence[JobRow]:
    """Return what to do next, and at once.

    What strangers wait for comes first, then all else in its order, sessions that
    are begun anew last.
    """
    uploads = [job for job in jobs if job.kind in _UPLOADS]
    others = [job for job in jobs if job.kind != RenewSession.kind]
    return uploads[:1] or others[:1] or jobs[:_RENEWALS_AT_ONCE]


def _give_up(waiting: asyncio.Future[None]) -> None:
    if waiting.done():
        return
    waiting.set_exception(
        NotAcknowledgedError(
            "the server has not confirmed the message",
            why="the client was closed before",
            fix="It is queued and goes out with the next login.",
        )
    )
    waiting.exception()  # not everybody waits: no warning for that
