"""Full disks, locks, rotten bits, power losses and killed migrations (R9-R12, R27).

Small here; ``XMPP_ONION_FAULTS=10`` makes each ten times as long.
"""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import asyncio
import json
import os
import secrets
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.store.power_loss import WRITER, Disk, record, replay
from xmpp_onion.errors import StoreCorruptError, StoreError
from xmpp_onion.store import Database, Inbox, Keys, Outbox, schema

TIMES = int(os.environ.get("XMPP_ONION_FAULTS", "1"))
PARTS = 8
IDENTITY = "the identity key: " + "k" * 64


def put(folder: Path, files: dict[str, bytes]) -> Path:
    """Make a folder that holds a store as it was left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for suffix, content in files.items():
        file = folder / f"store.db{suffix}"
        file.touch(mode=0o600)
        file.write_bytes(content)
    return folder / "store.db"


async def count_whole(path: Path) -> int:
    """Return how many transactions are there; each must be whole."""
    async with Database.open(path, create=False) as database:
        keys, outbox, inbox = Keys(database), Outbox(database), Inbox(database)
        count = await database.generation()
        kept = {await keys.load(str(part)) for part in range(PARTS)}
        assert kept == {str(count) if count else None}
        numbers = [str(number) for number in range(1, count + 1)]
        assert [row.message_id for row in await outbox.pending()] == numbers
        assert [row.event_json for row in await inbox.pending()] == numbers
        [row] = await database.fetch("PRAGMA integrity_check")
        assert row[0] == "ok"
    return count


# --- power (R12) --------------------------------------------------------------------


@pytest.mark.parametrize("how_written", ["write", "together"])
async def test_no_power_loss_tears_or_loses_what_was_promised(
    path: Path, tmp_path: Path, root: Path, how_written: str
) -> None:
    async with Database.open(path):
        pass
    files = {"": Disk(bytearray(path.read_bytes()))}
    calls = record(path, tmp_path / "trace", 12, root, how_written)
    states = [
        (
            promised,
            how,
            {suffix: disk.after_a_loss(how) for suffix, disk in now.items()},
        )
        for promised, now in replay(calls, path, files)
        for how in ("none", "some", "all")
    ]
    assert len(states) > 100
    assert states[-1][0] == 12

    for promised, how, left in secrets.SystemRandom().sample(
        states, min(50 * TIMES, len(states))
    ):
        found = await count_whole(put(tmp_path / "left", left))

        assert found >= promised, f"{how} of what was not synced was there"


# --- a full disk (R9) ---------------------------------------------------------------


async def test_a_full_disk_is_told_and_loses_nothing_that_was_promised(
    tmp_path: Path, root: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    script = 'mount -t tmpfs -o size=8m,mode=700 none "$1" && exec "$2" "$3" fill "$1"'
    program = ["sh", "-c", script, "sh", disk, sys.executable, WRITER]

    writer = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "--mount", *map(str, program)),
        env={"PYTHONPATH": str(root), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await writer.communicate()
    promised, found, later, integrity, is_rolled_back, errors = json.loads(said)

    assert errors, "the disk was never full"
    for why, fix in errors:
        assert "full" in why or "No space" in why
        assert "Make room" in fix
    assert found >= promised > 0
    assert (later, integrity, is_rolled_back) == (found + 1, "ok", False)


async def test_a_store_that_had_no_room_to_be_made_is_made_later(
    tmp_path: Path, root: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)

    writer = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "--mount"),
        *(sys.executable, str(WRITER), "make", str(disk)),
        env={"PYTHONPATH": str(root), "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await writer.communicate()
    refused, bad = json.loads(said)

    assert refused > 0, "the disks were all large enough"
    assert bad == []


# --- a lock (R10) -------------------------------------------------------------------


HOLD = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_lock_of_another_program_is_waited_for_and_blocks_nobody(
    path: Path,
) -> None:
    async with Database.open(path) as database:
        other = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOLD, str(path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert other.stdin
        assert other.stdout
        assert await other.stdout.readline() == b"held\n"

        async def write(number: int) -> None:
            async with database.transaction():
                await Inbox(database).add(str(number))

        async with asyncio.TaskGroup() as tasks:
            writes = [tasks.create_task(write(number)) for number in range(10)]
            turns = 0
            for _ in range(300 * TIMES):  # three seconds; 30 with ten times
                await asyncio.sleep(0.01)
                turns += 1
            assert turns == 300 * TIMES  # the loop goes on meanwhile
            assert not any(one.done() for one in writes)
            other.stdin.close()
            await other.wait()

        rows = await Inbox(database).pending()
    assert [row.event_json for row in rows] == [str(number) for number in range(10)]


# --- rotten bits (R11) --------------------------------------------------------------


@pytest.fixture
async def healthy(path: Path, key: bytes | None) -> dict[str, bytes]:
    """The files of a store that a killed process left, its log among them."""
    async with Database.open(path, key=key) as database:
        keys, inbox = Keys(database), Inbox(database)
        async with database.transaction():
            await keys.store("identity", IDENTITY)
        await database.wipe_log()
        for number in range(20):
            async with database.transaction():
                await inbox.add(f"{number} {'x' * 300}")
        return {
            suffix: path.with_name(path.name + suffix).read_bytes()
            for suffix in ("", "-wal")
        }


async def open_damaged(path: Path, key: bytes | None) -> str:
    """Return what a damaged store has for an identity, or why it is refused."""
    before = path.read_bytes()
    try:
        async with Database.open(path, key=key, create=False) as database:
            return await Keys(database).load("identity") or "none"
    except StoreError as error:
        refusal = error
    assert path.read_bytes() == before, "the damaged file was changed"
    if isinstance(refusal, StoreCorruptError):
        assert "backup" in refusal.fix
    return "refused"


async def test_a_flipped_bit_is_noticed_or_harms_no_identity(
    healthy: dict[str, bytes], tmp_path: Path, key: bytes | None
) -> None:
    found = []
    for _ in range(40 * TIMES):
        damaged = bytearray(healthy[""])
        place = secrets.randbelow(len(damaged))
        damaged[place] ^= 1 << secrets.randbelow(8)
        at = bytes(healthy[""]).find(IDENTITY.encode())
        if at <= place < at + len(IDENTITY):
            continue  # SQLite has no checksum of a text: the account's own check is
        found.append(
            await open_damaged(put(tmp_path / "left", {"": bytes(damaged)}), key)
        )

    assert set(found) <= {"refused", IDENTITY}
    if key is not None:  # each page has its own check
        assert found.count("refused") == len(found)


async def test_text_that_rots_while_open_is_reported_as_damage(path: Path) -> None:
    async with Database.open(path) as database:
        with pytest.raises(StoreCorruptError, match="no text"):
            await database.fetch("SELECT CAST(x'c328' AS TEXT)")


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "rotten"])
async def test_a_damaged_log_costs_the_end_and_no_identity(
    healthy: dict[str, bytes], tmp_path: Path, how: str, key: bytes | None
) -> None:
    log = bytearray(healthy["-wal"])
    match how:
        case "empty":
            log.clear()
        case "cut":
            del log[len(log) // 2 :]
        case "rotten":
            log[len(log) // 2] ^= 0xFF
    files = {"": healthy[""], "-wal": bytes(log)}
    if how == "missing":
        del files["-wal"]
    path = put(tmp_path / "left", files)

    assert await open_damaged(path, key) == IDENTITY

    async with Database.open(path, key=key, create=False) as database:
        rows = await Inbox(database).pending()
    numbers = [int(row.event_json.split()[0]) for row in rows]
    assert numbers == list(range(len(numbers)))  # from the start, without a gap
    assert len(numbers) < 20


# --- a migration (R27) --------------------------------------------------------------


async def test_a_kill_at_any_write_of_a_migration_leaves_the_old_or_the_new(
    path: Path, tmp_path: Path, root: Path
) -> None:
    async with (
        Database.open(path, migrations=schema.MIGRATIONS[:1]) as database,
        database.transaction(),
    ):
        await database.execute(
            "INSERT INTO inbox (event_json, added_at) VALUES (?, ?)",
            ("an event of version 1", "2026-03-04T05:06:07+00:00"),
        )
    files = {"": path.read_bytes()}
    step, number, kills = max(1, 6 // TIMES), 0, 0

    while True:
        number += 1 + secrets.randbelow(step) if step > 1 else 1
        left = put(tmp_path / "left", files)
        writer = await asyncio.create_subprocess_exec(
            *("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=pwrite64"),
            *("-e", f"inject=pwrite64:signal=KILL:when={number}"),
            *(sys.executable, str(WRITER), "open", str(left)),
            env={"PYTHONPATH": str(root)},
        )
        if await writer.wait() == 0:
            break
        kills += 1
        async with Database.open(left, create=False) as database:
            [row] = await Inbox(database).pending()
            [version] = await database.fetch("PRAGMA user_version")
            assert row.event_json == "an event of version 1"
            assert version[0] == len(schema.MIGRATIONS)

    assert kills >= 4
