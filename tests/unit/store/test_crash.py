"""SIGKILL at any moment: every transaction is there whole or not at all."""

import asyncio
import secrets
import sys
from pathlib import Path

from xmpp_onion.store import Database, Inbox, Keys, Outbox

WRITER = Path(__file__).with_name("crash_writer.py")
KILLS = 24
PARTS = 8


async def write_and_kill(
    path: Path, *, key: bytes | None, lines: int, delay: float
) -> int:
    """Return the highest number that the writer said was on the disk, 0 for none."""
    root = WRITER.parents[3]
    writer = await asyncio.create_subprocess_exec(
        sys.executable,
        str(WRITER),
        str(path),
        *([key.hex()] if key else []),
        env={"PYTHONPATH": str(root)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert writer.stdout
    said = [await writer.stdout.readline() or b"0" for _ in range(lines)]
    await asyncio.sleep(delay)
    assert writer.returncode is None, "it failed by itself"
    writer.kill()
    rest = (await writer.stdout.read()).split(b"\n")[:-1]  # the last may be cut
    await writer.wait()
    return max(int(number) for number in [b"0", *said, *rest])


async def check(path: Path, *, key: bytes | None, promised: int) -> int:
    """Return how many transactions are there; each must be whole."""
    async with Database.open(path, key=key) as database:
        keys, outbox, inbox = Keys(database), Outbox(database), Inbox(database)
        count = await database.generation()
        assert {await keys.load(str(part)) for part in range(PARTS)} == {
            str(count) if count else None
        }
        numbers = [str(number) for number in range(1, count + 1)]
        assert [row.message_id for row in await outbox.pending()] == numbers
        assert [row.event_json for row in await inbox.pending()] == numbers
        assert await inbox.is_seen(f"seen {count}") == bool(count)
        assert not await inbox.is_seen(f"seen {count + 1}")
        [row] = await database.fetch("PRAGMA integrity_check")
        assert row[0] == "ok"
    assert count >= promised, "a transaction that was reported is gone"
    return count


async def test_no_kill_tears_or_loses_a_transaction(
    path: Path, key: bytes | None
) -> None:
    promised = count = 0

    for _ in range(KILLS):
        said = await write_and_kill(
            path,
            key=key,
            lines=1 + secrets.randbelow(6),
            delay=secrets.randbelow(4000) / 1e6,
        )
        promised = max(promised, said)
        count = await check(path, key=key, promised=promised)

    assert count >= KILLS


async def test_a_kill_during_the_first_start_leaves_nothing_half_made(
    tmp_path: Path, key: bytes | None
) -> None:
    for number in range(8):
        path = tmp_path / str(number) / "account.db"

        promised = await write_and_kill(
            path, key=key, lines=0, delay=0.12 + number * 0.02
        )

        await check(path, key=key, promised=promised)
