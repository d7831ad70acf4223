import asyncio
import os
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from xmpp_onion import courier
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import (
    OMEMO_OLD,
    Device,
    TellTrust,
    TrustLevel,
    UploadBundle,
    Withdraw,
)
from xmpp_onion.errors import (
    DeliveryFailedError,
    DeviceListError,
    NotAcknowledgedError,
)
from xmpp_onion.session import message_stanza
from xmpp_onion.store import Database, Outbox, OutboxRow

if TYPE_CHECKING:
    from xmpp_onion.e2ee import Effect, Omemo
    from xmpp_onion.rooms import RoomWatch
    from xmpp_onion.session import Session


ONION = OnionAddress.from_public_key(bytes(32))
# 10,000 by name: XMPP_ONION_FULL=1
MANY = 10_000 if os.environ.get("XMPP_ONION_FULL") else 3_000
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")


class OutboxThatCounts(Outbox):
    looks = 0
    most = 0

    async def pending(
        self, *, after: int = 0, limit: int = -1, is_patient: bool = False
    ) -> list[OutboxRow]:
        self.looks += 1
        rows = await super().pending(after=after, limit=limit, is_patient=is_patient)
        self.most = max(self.most, len(rows))
        return rows


class Line:
    """Stands in for a session that is up or down, and acknowledges at once."""

    jid = JID(f"{ALICE}/here")

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.revised: list[tuple[str, str]] = []
        self.up = asyncio.Event()
        self.up.set()

    @property
    def is_away(self) -> bool:
        return not self.up.is_set()

    async def wait_online(self) -> None:
        await self.up.wait()

    def revise(self, xml: str, better: str) -> None:
        self.revised.append((xml, better))

    def send(self, xml: str, message_id: str) -> Awaitable[None]:
        del message_id
        done = asyncio.get_running_loop().create_future()
        if self.up.is_set():
            self.sent.append(xml)
            done.set_result(None)
        else:
            done.set_exception(NotAcknowledgedError("the session is down"))
        return done


class NoDevices:
    """Stands in for a keyring."""

    async def devices(self, jid: JID) -> tuple[Device, ...]:
        """Return none: the account has no other devices."""
        del jid
        return ()


class Chores:
    """Stands in for what does the jobs."""

    def __init__(self, do: Callable[[str], Awaitable[None]]) -> None:
        self._do = do
        self.effects: list[Effect] = []
        self.keyring = NoDevices()

    async def perform(self, kind: str, payload: str) -> None:
        del payload
        await self._do(kind)

    async def conclude(self, kind: str, payload: str) -> None:
        """Nothing is left to do."""

    def take_effects(self) -> list["Effect"]:
        taken, self.effects = self.effects, []
        return taken

    async def fetch(self, jids: Collection[JID]) -> None:
        """Fetch nothing: there is none."""

    def addressee(self, payload: str) -> JID:
        del payload
        return BOB

    async def encrypt_letter(self, payload: str) -> None:
        """Fail or not, as a letter does whose bundles do not come, or that is void."""
        await self._do(payload)


class Desk:
    """A courier at work, and what it works with."""

    def __init__(
        self,
        database: Database,
        do: Callable[[str], Awaitable[None]],
        line: Line | None = None,
        clock: Callable[[], float] = time.monotonic,
        watch: "RoomWatch | None" = None,
    ) -> None:
        self.database = database
        self.outbox = OutboxThatCounts(database)
        self.line = line or Line()
        self.stop: Callable[[], bool]
        self.chores = Chores(do)
        self.courier = Courier(
            database,
            self.outbox,
            cast("Session", self.line),
            cast("Omemo", self.chores),
            deliveries=Deliveries(database),
            watch=watch,
            clock=clock,
        )

    async def put(self, xml: str) -> asyncio.Future[None]:
        async with self.database.transaction():
            row_id = await self.outbox.add(xml, to=BOB, message_id=xml)
        confirmed = self.courier.expect(row_id)
        self.courier.wake()
        return confirmed

    async def add_jobs(self, *kinds: str) -> None:
        async with self.database.transaction():
            for kind in kinds:
                await self.outbox.add_job(kind, "")
        self.courier.wake()


@asynccontextmanager
async def at_work(
    folder: Path,
    do: Callable[[str], Awaitable[None]],
    line: Line | None = None,
    watch: "RoomWatch | None" = None,
) -> AsyncIterator[Desk]:
    async with Database.open(folder / "account" / "store.db") as database:
        desk = Desk(database, do, line, watch=watch)
        desk.courier.open()
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(120):
            running = tasks.create_task(desk.courier.run())
            desk.stop = running.cancel
            yield desk
            running.cancel()


async def nothing(_kind: str) -> None:
    """Do a job in no time."""


async def test_what_is_acknowledged_leaves_the_outbox(tmp_path: Path) -> None:
    async with at_work(tmp_path, nothing) as desk:
        await desk.put("a")
        await (await desk.put("b"))

        assert desk.line.sent == ["a", "b"]
        assert await desk.outbox.pending() == []


async def test_who_comes_to_wait_when_it_is_acknowledged_already_is_told(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, nothing) as desk:
        async with desk.database.transaction():
            kept = await desk.outbox.put("a", to=BOB, message_id="a")
        desk.courier.wake()
        while desk.courier._under_way or not desk.line.sent:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)

        await desk.courier.expect(kept.id)


async def test_who_comes_to_wait_when_it_has_failed_already_is_told(
    tmp_path: Path,
) -> None:
    line = SlowLine()
    async with at_work(tmp_path, nothing, line) as desk:
        async with desk.database.transaction():
            kept = await desk.outbox.put(for_devices(7), to=BOB, message_id="a")
        desk.courier.wake()
        while not line.waiting:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        desk.chores.effects = [Withdraw(bobs(7))]
        async with desk.database.transaction():
            await desk.courier.keep_effects()

        with pytest.raises(DeliveryFailedError):
            await desk.courier.expect(kept.id)


class SlowLine(Line):
    """A session whose server takes its time to acknowledge."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[asyncio.Future[None]] = []

    def send(self, xml: str, message_id: str) -> Awaitable[None]:
        sent = super().send(xml, message_id)
        if not self.up.is_set():
            return sent
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    def acknowledge(self, count: int) -> None:
        acknowledged, self.waiting = self.waiting[:count], self.waiting[count:]
        for one in acknowledged:
            one.set_result(None)

    def end(self) -> None:
        """End the session, and what waits with it."""
        for one in self.waiting:
            one.set_exception(NotAcknowledgedError("the session is over"))
        self.waiting.clear()


async def fill(outbox: Outbox, database: Database, count: int) -> None:
    async with database.transaction():
        for number in range(count):
            await outbox.add(str(number), to=BOB, message_id=str(number))


async def test_what_waits_is_read_in_parts_and_keeps_its_order(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, nothing) as desk:
        await fill(desk.outbox, desk.database, 2000)
        await (await desk.put("2000"))

        assert desk.line.sent == [str(number) for number in range(2001)]
        assert desk.outbox.most <= 256


async def test_what_one_ack_covers_leaves_the_outbox_in_one_transaction(
    tmp_path: Path,
) -> None:
    line = SlowLine()
    async with at_work(tmp_path, nothing, line) as desk:
        await fill(desk.outbox, desk.database, 49)
        last = await desk.put("49")
        while len(line.waiting) < 50:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        before = await desk.database.generation()

        line.acknowledge(50)
        await last

        assert await desk.outbox.pending() == []
        assert await desk.database.generation() == before + 1


async def test_a_session_that_ends_gives_the_next_all_in_order(
    tmp_path: Path,
) -> None:
    line = SlowLine()
    async with at_work(tmp_path, nothing, line) as desk:
        await fill(desk.outbox, desk.database, 600)
        last = await desk.put("600")
        while len(line.waiting) < 256:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert line.sent == [str(number) for number in range(256)]  # and no more
        line.sent.clear()
        line.end()
        while not last.done():
            line.acknowledge(50)
            await asyncio.sleep(0)

        assert line.sent == [str(number) for number in range(601)]


async def test_who_leaves_hands_over_what_is_on_the_disk(tmp_path: Path) -> None:
    async with at_work(tmp_path, nothing) as desk:
        await desk.put("warm")
        async with desk.database.transaction():
            for number in range(300):  # more than are read at once
                await desk.outbox.add(str(number), to=BOB, message_id=str(number))

        await desk.courier.hand_over()

        assert desk.line.sent == ["warm", *map(str, range(300))]
        desk.stop()


class SlowWatch:
    """Stands in for what looks at each stanza to a room, and takes its time."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def must_wait(self, row: OutboxRow) -> bool:
        del row
        return False

    async def admit(self, row: OutboxRow) -> OutboxRow:
        await asyncio.sleep(0.01)
        return row


async def test_who_leaves_hands_over_what_is_for_a_room(tmp_path: Path) -> None:
    watch = cast("RoomWatch", SlowWatch())
    async with at_work(tmp_path, nothing, watch=watch) as desk:
        async with desk.database.transaction():
            for number in range(3):
                await desk.outbox.add(
                    str(number), to=BOB, message_id=str(number), readers={BOB: (1,)}
                )

        await desk.courier.hand_over()

        assert desk.line.sent == ["0", "1", "2"]
        desk.stop()


@pytest.mark.parametrize("is_known", [True, False], ids=["told", "not told"])
async def test_who_leaves_waits_for_no_connection(
    tmp_path: Path, *, is_known: bool
) -> None:
    async with at_work(tmp_path, nothing) as desk:
        await (await desk.put("warm"))
        desk.line.up.clear()
        if is_known:  # the reader of the session's events was told
            desk.courier.hold()
        await desk.put("kept")

        await desk.courier.hand_over()

        assert desk.line.sent == ["warm"]
        assert len(await desk.outbox.pending()) == 1
        desk.stop()


async def test_a_message_does_not_wait_for_a_job(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def hang(_kind: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with at_work(tmp_path, hang) as desk:
        await desk.add_jobs("upload")
        await begun.wait()
        await (await desk.put("a"))

        assert desk.line.sent == ["a"]


async def test_what_the_ratchet_wants_is_begun_when_it_is_committed(
    tmp_path: Path,
) -> None:
    done: asyncio.Queue[str] = asyncio.Queue()

    async with at_work(tmp_path, done.put) as desk:
        await desk.add_jobs("another")
        assert await done.get() == "another"
        for _ in range(20):  # the courier stands in the same line: it looks as well
            await desk.outbox.jobs()
        async with desk.database.transaction():
            desk.chores.effects.append(UploadBundle("a version"))
            await desk.courier.keep_effects()
        # Nobody has to wake the courier.
        assert await done.get() == UploadBundle.kind


async def test_a_session_that_is_down_is_not_asked_again_and_again(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, nothing) as desk:
        desk.line.up.clear()  # nobody has told the courier yet
        confirmed = await desk.put("a")
        await asyncio.sleep(0.2)
        looks = desk.outbox.looks
        desk.line.up.set()
        await confirmed

    assert looks <= 2
    assert desk.line.sent == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyError, DeviceListError])
async def test_a_job_that_fails_stays_and_stops_nothing(
    tmp_path: Path, error: type[Exception]
) -> None:
    tried: list[str] = []

    async def fail(kind: str) -> None:
        tried.append(kind)
        if kind == "one":
            raise error("no")

    async with at_work(tmp_path, fail) as desk:
        await desk.add_jobs("one", "two")
        await (await desk.put("a"))
        while len(await desk.outbox.jobs()) > 1:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

        assert [job.kind for job in await desk.outbox.jobs()] == ["one"]
    assert tried[0] == "one"
    assert desk.line.sent == ["a"]


async def test_what_is_kept_too_late_says_that_it_waits_for_the_next_login(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, nothing) as desk:
        desk.courier.hold()
        early = await desk.put("a")
        await asyncio.sleep(0)
        desk.stop()
        with pytest.raises(NotAcknowledgedError, match="next login"):
            await early
        late = await desk.put("b")
        with pytest.raises(NotAcknowledgedError, match="next login"):
            await late

        assert len(await desk.outbox.pending()) == 2


async def test_a_job_that_failed_is_tried_again_with_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "_JOB_PAUSE", 3600.0)
    tried: list[str] = []
    failed = asyncio.Event()

    async def fail_once(kind: str) -> None:
        tried.append(kind)
        if len(tried) == 1:
            failed.set()
            raise DeviceListError("the connection broke")

    async with at_work(tmp_path, fail_once) as desk:
        await desk.add_jobs("upload")
        await failed.wait()
        desk.courier.hold()
        desk.courier.open()
        async with asyncio.timeout(60):
            while await desk.outbox.jobs():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    assert tried == ["upload", "upload"]


def for_devices(*numbers: int) -> str:
    """Return a stanza that some devices of Bob can read."""
    keys = "".join(f"<key rid='{number}'/>" for number in numbers)
    element = ET.fromstring(  # noqa: S314 - our own text
        f"<encrypted xmlns='{OMEMO_OLD}'><header sid='1'>{keys}</header></encrypted>"
    )
    return message_stanza(BOB, "m1", [element])


def bobs(number: int) -> Device:
    return Device(
        jid=BOB,
        device_id=number,
        fingerprint="ab" * 32,
        trust=TrustLevel.DISTRUSTED,
        active=True,
        own=False,
    )


@pytest.mark.parametrize(
    ("numbers", "left"), [((7, 8), for_devices(8)), ((7,), "")], ids=["one", "none"]
)
async def test_what_is_under_way_goes_again_without_the_key_of_a_distrusted_device(
    tmp_path: Path, numbers: tuple[int, ...], left: str
) -> None:
    line = SlowLine()
    async with at_work(tmp_path, nothing, line) as desk:
        await desk.put(for_devices(*numbers))
        while not line.waiting:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        desk.chores.effects = [Withdraw(bobs(7))]
        async with desk.database.transaction():
            await desk.courier.keep_effects()

        assert line.revised == [(for_devices(*numbers), left)]
        assert [row.stanza_xml for row in await desk.outbox.pending()] == (
            [left] if left else []
        )


async def test_uploads_come_first_and_sessions_are_begun_anew_in_flights(
    tmp_path: Path,
) -> None:
    done: list[str] = []
    at_once = most = 0

    async def do(kind: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        for _ in range(20):  # others of the same flight begin meanwhile
            await asyncio.sleep(0)
        at_once -= 1
        done.append(kind)

    async with at_work(tmp_path, do) as desk:
        desk.courier.hold()
        async with desk.database.transaction():
            for number in range(20):
                await desk.outbox.add_job("renew-session", str(number))
            await desk.outbox.add_job("check-nodes", "")
            await desk.outbox.add_job("upload-bundle", "")
        desk.courier.open()
        while await desk.outbox.jobs():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)

    assert done == ["upload-bundle", "check-nodes", *["renew-session"] * 20]
    assert most == 8


async def test_an_upload_that_comes_up_meanwhile_waits_for_one_flight(
    tmp_path: Path,
) -> None:
    done: list[str] = []

    async def do(kind: str) -> None:
        if not done:
            await desk.add_jobs("upload-bundle")
        done.append(kind)

    async with at_work(tmp_path, do) as desk:
        desk.courier.hold()
        async with desk.database.transaction():
            for number in range(100):
                await desk.outbox.add_job("renew-session", str(number))
        desk.courier.open()
        while await desk.outbox.jobs():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)

    assert done.index("upload-bundle") == 8


async def test_rows_that_wait_take_no_more_memory_than_few(
    tmp_path: Path,
) -> None:
    """In a process of its own; counted is what Python holds.

    What the system has given to a process depends on how the threads of SQLite and of
    Python happened to take turns: 2 or 24 MB more for the same.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CARRY_MANY, str(tmp_path / "account" / "store.db")),
        str(MANY),
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    few, many = map(int, said.split())

    assert few > 0
    assert many - few < MANY * 1024, said  # each row is 8 KiB


CARRY_MANY = """
import asyncio, sys, tracemalloc
from pathlib import Path
from tests.unit.test_courier import BOB, Line
from xmpp_onion import courier
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.store import Database, Outbox


class Chores:
    def take_effects(self):
        return []


class Forgetful(Line):
    def send(self, xml, message_id):
        self.sent.clear()
        return super().send(xml, message_id)


async def carry(database, outbox, count):
    async with database.transaction():
        for number in range(count):
            await outbox.add("x" * 8000, to=BOB, message_id=str(number))
    courier = Courier(
        database, outbox, Forgetful(), Chores(), deliveries=Deliveries(database)
    )
    courier.open()
    running = asyncio.get_running_loop().create_task(courier.run())
    while await outbox.pending(limit=1):
        await asyncio.sleep(0.01)
    running.cancel()
    print(tracemalloc.get_traced_memory()[1], flush=True)
    tracemalloc.reset_peak()


async def main():
    async with Database.open(Path(sys.argv[1])) as database:
        await database.fetch("PRAGMA synchronous = OFF")  # it is about memory
        outbox = Outbox(database)
        await carry(database, outbox, 600)
        await carry(database, outbox, int(sys.argv[2]))


tracemalloc.start()
asyncio.run(main())
"""


async def test_a_storm_of_new_bundles_is_published_a_few_times_and_then_seldom(
    tmp_path: Path,
) -> None:
    done: list[str] = []
    now = 0.0

    async def do(kind: str) -> None:
        done.append(kind)

    async with Database.open(tmp_path / "account" / "store.db") as database:
        desk = Desk(database, do, clock=lambda: now)
        for _ in range(20):
            await desk.add_jobs(UploadBundle.kind)
            desk.courier.open()
            await desk.courier._do_all_jobs()

        assert len(done) == 6
        assert len(await desk.outbox.jobs()) == 1  # the newest is not forgotten

        now = 10.0
        for _ in range(3):
            await desk.courier._do_all_jobs()

        assert len(done) == 7
        assert await desk.outbox.jobs() == []


async def test_word_of_keys_that_nobody_can_read_is_given_up_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[float] = []
    now = 0.0

    async def do(payload: str) -> None:
        del payload
        tried.append(now)
        raise DeviceListError("no bundle came")

    async with Database.open(tmp_path / "account" / "store.db") as database:
        desk = Desk(database, do, clock=lambda: now)
        async with database.transaction():
            await desk.outbox.add_job(TellTrust.kind, "words")
        desk.courier.open()
        for hour in range(24 * 9):
            for _ in range(3):
                now = hour * 3600.0
                await desk.courier._do_all_jobs()

        assert await desk.outbox.jobs() == []

    assert len(tried) == 38
    assert 7 * 24 * 3600 <= tried[-1] <= 8 * 24 * 3600
    assert caplog.text.count("given up") == 1


async def test_word_of_keys_goes_out_when_the_bundle_comes_after_all(
    tmp_path: Path,
) -> None:
    fails, now = True, 0.0

    async def do(payload: str) -> None:
        del payload
        if fails:
            raise DeviceListError("no bundle came")

    async with Database.open(tmp_path / "account" / "store.db") as database:
        desk = Desk(database, do, clock=lambda: now)
        async with database.transaction():
            await desk.outbox.add_job(TellTrust.kind, "words")
        desk.courier.open()
        await desk.courier._do_all_jobs()
        fails = False
        await desk.courier._do_all_jobs()
        assert len(await desk.outbox.jobs()) == 1  # it is not time yet
        now = 30.0
        await desk.courier._do_all_jobs()
        assert await desk.outbox.jobs() == []
