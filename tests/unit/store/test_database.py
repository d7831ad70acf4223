"""The unit of work: whole or not at all, one after the other, cancelled or not."""

import asyncio
import fcntl
import logging
import re
import sys
from pathlib import Path

import pytest

from xmpp_onion.errors import StoreCorruptError, StoreError, StoreLockedError
from xmpp_onion.store import Database, Inbox, Keys, Outbox, check_free

KEYED = "c.execute('PRAGMA key = \"x\\'{}\\'\"');"


class BrokenError(Exception):
    """What a caller's own code may raise."""


async def test_what_a_transaction_wrote_is_there_after_reopening(
    path: Path, key: bytes | None
) -> None:
    async with Database.open(path, key=key) as database, database.transaction():
        await Outbox(database).add("<message/>", to="bob", message_id="1")

    async with Database.open(path, key=key) as database:
        pending = await Outbox(database).pending()

    assert [row.message_id for row in pending] == ["1"]


async def test_an_exception_undoes_all_of_it_and_comes_out(database: Database) -> None:
    inbox, outbox, keys = Inbox(database), Outbox(database), Keys(database)

    async def write() -> None:
        async with database.transaction():
            await inbox.add("{}")
            await inbox.mark_seen("id")
            await outbox.add("<message/>", to="bob", message_id="1")
            await outbox.add_job("upload", "")
            await keys.store("key", "text")
            raise BrokenError

    with pytest.raises(BrokenError):
        await write()

    assert await inbox.pending() == []
    assert not await inbox.is_seen("id")
    assert await outbox.pending() == []
    assert await outbox.jobs() == []
    assert await keys.load("key") is None
    assert await database.generation() == 0


async def test_a_cancellation_undoes_all_of_it(database: Database) -> None:
    outbox = Outbox(database)
    written = asyncio.Event()

    async def write() -> None:
        async with database.transaction():
            await outbox.add("<message/>", to="bob", message_id="1")
            written.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(write())
        await written.wait()
        task.cancel()

    assert task.cancelled()
    assert await outbox.pending() == []


async def test_hooks_run_once_each_and_in_order(database: Database) -> None:
    calls: list[str] = []

    async def write() -> None:
        calls.append(f"before commit, inside: {database.in_transaction}")

    database.before_commit(write)
    database.after_commit(lambda: calls.append("after commit"))
    database.on_rollback(lambda: calls.append("rolled back"))

    async with database.transaction():
        pass
    with pytest.raises(BrokenError):
        async with database.transaction():
            raise BrokenError

    assert calls == ["before commit, inside: True", "after commit", "rolled back"]


async def test_a_hook_that_fails_before_the_commit_undoes_all(
    database: Database,
) -> None:
    async def write() -> None:
        raise BrokenError

    database.before_commit(write)

    with pytest.raises(BrokenError):
        async with database.transaction():
            await Inbox(database).add("{}")

    assert await Inbox(database).pending() == []


async def test_fifty_transactions_run_one_at_a_time_in_order(
    database: Database,
) -> None:
    outbox = Outbox(database)
    running = 0
    order: list[int] = []

    async def send(number: int) -> None:
        nonlocal running
        async with database.transaction():
            running += 1
            assert running == 1
            seen = len(await outbox.pending())
            await asyncio.sleep(0)
            assert len(await outbox.pending()) == seen == number
            await outbox.add("<message/>", to="bob", message_id=str(number))
            order.append(number)
            running -= 1

    await asyncio.gather(*(send(number) for number in range(50)))

    assert order == list(range(50))
    assert [int(row.message_id) for row in await outbox.pending()] == order
    assert await database.generation() == 50


async def test_a_read_outside_does_not_see_what_is_not_yet_on_the_disk(
    database: Database,
) -> None:
    outbox, keys = Outbox(database), Keys(database)
    written, undo = asyncio.Event(), asyncio.Event()
    await keys.load("key")  # the cache is warm

    async def write() -> None:
        async with database.transaction():
            await outbox.add("<message/>", to="bob", message_id="1")
            await keys.store("key", "text")
            written.set()
            await undo.wait()
            raise BrokenError

    async def write_in_vain() -> None:
        with pytest.raises(BrokenError):
            await write()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_in_vain())
        await written.wait()
        read = tasks.create_task(outbox.pending())
        assert await keys.load("key") is None
        undo.set()

    assert read.result() == []


async def test_tasks_started_inside_belong_to_the_transaction(
    database: Database,
) -> None:
    inbox = Inbox(database)

    async def write(number: int) -> None:
        await inbox.add(str(number))

    async with database.transaction(), asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(write(number))

    assert len(await inbox.pending()) == 5


async def test_a_task_that_outlives_its_transaction_is_outside(
    database: Database,
) -> None:
    ended = asyncio.Event()

    async def write() -> None:
        await ended.wait()
        await Inbox(database).add("{}")

    async with database.transaction():
        late = asyncio.gather(write(), return_exceptions=True)
    ended.set()
    async with database.transaction():  # somebody else's
        [outcome] = await late

    assert isinstance(outcome, RuntimeError)
    assert await Inbox(database).pending() == []


async def test_transactions_do_not_nest(database: Database) -> None:
    async with database.transaction():
        with pytest.raises(RuntimeError, match="do not nest"):
            async with database.transaction():
                pass
        await Inbox(database).add("{}")

    assert len(await Inbox(database).pending()) == 1


async def test_transactions_of_two_accounts_may_nest(tmp_path: Path) -> None:
    async with (
        Database.open(tmp_path / "a" / "account.db") as first,
        Database.open(tmp_path / "b" / "account.db") as second,
    ):
        async with first.transaction():
            async with second.transaction():
                await Inbox(second).add("2")
            assert not second.in_transaction
            await Inbox(first).add("1")

        assert [row.event_json for row in await Inbox(first).pending()] == ["1"]
        assert [row.event_json for row in await Inbox(second).pending()] == ["2"]


async def test_writes_outside_a_transaction_are_refused(database: Database) -> None:
    inbox, outbox, keys = Inbox(database), Outbox(database), Keys(database)
    writes = [
        inbox.add("{}"),
        inbox.mark_seen("id"),
        inbox.mark_handled(1),
        outbox.add("<message/>", to="bob", message_id="1"),
        outbox.remove(1),
        outbox.add_job("upload", ""),
        outbox.remove_job(1),
        keys.store("key", "text"),
        keys.delete("key"),
    ]

    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [RuntimeError] * len(writes)


class Commits:
    """Cancels a task at the moment that its commit begins."""

    def __init__(self, database: Database) -> None:
        self.task: asyncio.Task[None] | None = None
        self.times = 1
        database.before_commit(self.cancel)

    async def cancel(self) -> None:
        for _ in range(self.times):
            if self.task:
                self.task.cancel()
                await asyncio.sleep(0)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancellation_during_the_commit_is_raised_when_it_has_ended(
    database: Database, times: int
) -> None:
    commits, outbox = Commits(database), Outbox(database)
    commits.times = times
    undone: list[None] = []
    database.on_rollback(lambda: undone.append(None))

    async def write() -> None:
        async with database.transaction():
            await outbox.add("<message/>", to="bob", message_id="1")

    async with asyncio.TaskGroup() as tasks:
        commits.task = tasks.create_task(write())

    assert commits.task.cancelled()
    commits.task = None
    assert len(await outbox.pending()) == 1
    assert undone == []


async def test_a_cancellation_at_any_step_leaves_all_or_nothing(
    database: Database,
) -> None:
    outbox, inbox, keys = Outbox(database), Inbox(database), Keys(database)
    kept = 0

    async def write() -> None:
        async with database.transaction():
            await outbox.add("<message/>", to="bob", message_id="1")
            await inbox.add("{}")
            await keys.store("key", str(len(await outbox.pending())))

    for steps in range(60):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(write())
            for _ in range(steps):
                await asyncio.sleep(0.0001)
            task.cancel()
        sent = len(await outbox.pending())
        assert sent in {kept, kept + 1}
        assert len(await inbox.pending()) == sent
        assert await keys.load("key") == (str(sent) if sent else None)
        kept = sent


async def test_a_timeout_around_a_transaction_ends_as_a_timeout(
    database: Database,
) -> None:
    async def write() -> None:
        async with asyncio.timeout(0.01), database.transaction():
            await Inbox(database).add("{}")
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await write()

    assert await Inbox(database).pending() == []


async def test_a_full_disk_undoes_the_transaction_and_heals(
    database: Database,
) -> None:
    inbox, keys = Inbox(database), Keys(database)
    [row] = await database.fetch("PRAGMA page_count")
    await database.fetch(f"PRAGMA max_page_count = {row[0] + 3}")

    async def write() -> None:
        async with database.transaction():
            await inbox.mark_seen("id")
            await keys.store("key", "x" * 100_000)

    with pytest.raises(StoreError) as caught:
        await write()

    assert caught.value.why == "the disk is full"
    assert "Make room" in caught.value.fix
    assert not await inbox.is_seen("id")
    assert await keys.load("key") is None

    await database.fetch("PRAGMA max_page_count = 100000")
    await write()
    assert await keys.load("key") == "x" * 100_000


async def test_a_swallowed_failure_that_undid_the_work_is_not_called_success(
    database: Database,
) -> None:
    inbox = Inbox(database)

    async def write() -> None:
        async with database.transaction():
            await inbox.add("{}")
            await database.fetch("ROLLBACK")  # as SQLite does on some errors

    with pytest.raises(StoreError, match="was not written"):
        await write()

    assert await inbox.pending() == []


async def test_a_lock_by_another_program_is_an_error_that_names_it(
    database: Database, key: bytes | None
) -> None:
    shell = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import sys; from {'sqlcipher3' if key else 'sqlite3'} import connect;"
        "c = connect(sys.argv[1]);"
        f"{KEYED.format(key.hex()) if key else ''}"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()",
        str(database.path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert shell.stdin
    assert shell.stdout
    await shell.stdout.readline()
    database._connection.patience = 0.01

    with pytest.raises(StoreLockedError, match="another program held it"):
        async with database.transaction():
            await Inbox(database).add("{}")

    database._connection.patience = 60
    async with asyncio.TaskGroup() as tasks:  # waits for it, and loses nothing
        add = tasks.create_task(add_event(database))
        shell.stdin.close()
        await add
    await shell.wait()
    assert len(await Inbox(database).pending()) == 1


async def add_event(database: Database) -> None:
    async with database.transaction():
        await Inbox(database).add("{}")


async def test_a_page_that_rots_while_open_is_reported_as_damage(
    path: Path, key: bytes | None
) -> None:
    async with Database.open(path, key=key) as database, database.transaction():
        for number in range(2000):
            await Inbox(database).mark_seen(f"{number:0100}")

    async with Database.open(path, key=key) as database:
        with path.open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096 * 5)
            file.write(b"\xff" * (size - 4096 * 5))

        with pytest.raises(StoreCorruptError, match="restore the file from a backup"):
            await database.fetch("SELECT count(key) FROM seen")


async def test_the_generation_counts_what_changed_the_file(database: Database) -> None:
    for _ in range(3):
        async with database.transaction():
            await Inbox(database).add("{}")
        async with database.transaction():
            await Inbox(database).pending()

    assert await database.generation() == 3


async def test_a_closed_store_refuses_work(path: Path, key: bytes | None) -> None:
    async with Database.open(path, key=key) as database:
        pass

    with pytest.raises(RuntimeError, match="closed"):
        await database.fetch("SELECT 1")
    with pytest.raises(RuntimeError, match="closed"):
        async with database.transaction():
            pass


async def test_closing_waits_for_the_transaction_that_is_open(
    path: Path, key: bytes | None
) -> None:
    async with asyncio.TaskGroup() as tasks, Database.open(path, key=key) as database:
        written = asyncio.Event()

        async def write() -> None:
            async with database.transaction():
                written.set()
                await Inbox(database).add("{}")

        tasks.create_task(write())
        await written.wait()

    async with Database.open(path, key=key) as database:
        assert len(await Inbox(database).pending()) == 1


async def test_closing_beside_a_transaction_that_hangs_can_be_cut_short(
    path: Path, key: bytes | None
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def hang(database: Database) -> None:
        with pytest.raises(RuntimeError, match="closed"):
            await write(database)

    async def write(database: Database) -> None:
        async with database.transaction():
            await Inbox(database).add("{}")
            begun.set()
            await release.wait()

    async def open_and_close() -> None:
        async with Database.open(path, key=key) as database:
            tasks.create_task(hang(database)).add_done_callback(ended.append)
            await begun.wait()

    ended: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as tasks:
        closing = tasks.create_task(open_and_close())
        await begun.wait()
        await asyncio.sleep(0.05)  # it waits for its turn to close
        closing.cancel()
        await asyncio.wait([closing])
        assert ended == []
        release.set()

    assert closing.cancelled()
    assert [type(task.exception()) for task in ended] == [type(None)]
    async with Database.open(path, key=key) as database:
        assert await Inbox(database).pending() == []


async def test_whether_an_account_is_free_can_be_asked(
    path: Path, key: bytes | None
) -> None:
    check_free(path)
    async with Database.open(path, key=key):
        with pytest.raises(StoreLockedError, match="in use"):
            check_free(path)

    check_free(path)


async def test_to_ask_whether_an_account_is_free_writes_nothing(
    path: Path, key: bytes | None
) -> None:
    lock = path.with_name("account.db.lock")

    check_free(path)
    assert not path.parent.exists()
    async with Database.open(path, key=key):
        holder = lock.read_bytes()
    before = lock.stat()
    check_free(path)

    assert lock.read_bytes() == holder
    assert (lock.stat().st_ino, lock.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


async def test_who_opens_an_account_is_not_refused_because_somebody_asks(
    path: Path, key: bytes | None
) -> None:
    async with Database.open(path, key=key):
        pass
    with path.with_name("account.db.lock").open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        asyncio.get_running_loop().call_later(0.1, asking.close)

        async with Database.open(path, key=key):
            assert asking.closed


async def test_no_value_that_is_stored_is_logged(
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    key: bytes | None,
) -> None:
    library = logging.getLogger("aiosqlite")
    monkeypatch.setattr(library, "level", logging.NOTSET)
    library.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)

    async with Database.open(path, key=key) as database, database.transaction():
        await Keys(database).store("key", "CANARY")
        await Inbox(database).add("CANARY")

    assert "store open" in caplog.text
    assert "CANARY" not in caplog.text


async def test_a_stricter_cap_on_the_library_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes | None
) -> None:
    library = logging.getLogger("aiosqlite")
    monkeypatch.setattr(library, "level", logging.CRITICAL)

    async with Database.open(path, key=key):
        assert library.level == logging.CRITICAL


async def test_rows_do_not_show_what_they_hold(database: Database) -> None:
    inbox, outbox, keys = Inbox(database), Outbox(database), Keys(database)
    secret = "hunter2"
    async with database.transaction():
        await inbox.add(secret)
        await outbox.add(secret, to=secret, message_id="1")
        await outbox.add_job("upload", secret)
        await keys.store("key", secret)

    shown = [
        *await inbox.pending(),
        *await outbox.pending(),
        *await outbox.jobs(),
        keys,
        inbox,
        outbox,
        database,
    ]

    assert not re.search(secret, repr(shown))
