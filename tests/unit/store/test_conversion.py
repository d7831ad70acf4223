"""Encrypting a store in place: all of it, and never neither the one nor the other."""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import asyncio
import functools
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from xmpp_onion.errors import StoreError, StoreLockedError
from xmpp_onion.store import Database, Inbox, Keys, conversion, encrypt, schema

KEY = bytes(range(32))
CANARY = "identity-key-canary"


OLD_KEY = "INSERT INTO keys (key, text) VALUES (?, ?)"
OLD_EVENT = "INSERT INTO inbox (event_json, added_at) VALUES (?, ?)"
AT = "2026-03-04T05:06:07+00:00"


class BrokenError(Exception):
    """What keeping the key may raise."""


async def fill(path: Path) -> None:
    async with Database.open(path, migrations=schema.MIGRATIONS[:1]) as database:
        async with database.transaction():
            await database.execute(OLD_KEY, ("identity", CANARY))
            for number in range(200):
                await database.execute(OLD_EVENT, (f"{CANARY} {number}", AT))
        async with database.transaction():
            await database.execute("DELETE FROM inbox WHERE id > 100")


async def check(path: Path, *, key: bytes | None) -> None:
    async with Database.open(path, key=key, create=False) as database:
        assert await Keys(database).load("identity") == CANARY
        assert len(await Inbox(database).pending()) == 100
        assert await database.generation() >= 2
        async with database.transaction():  # ids of what was handled stay used
            number = await Inbox(database).add("new")
            assert number > 200
            await Inbox(database).mark_handled(number)


def is_anywhere(folder: Path) -> bool:
    return any(CANARY.encode() in file.read_bytes() for file in folder.iterdir())


async def test_all_that_was_in_the_clear_is_encrypted(path: Path) -> None:
    await fill(path)
    assert is_anywhere(path.parent)

    await encrypt(path, KEY, keep_key=lambda: None)

    # The copy before the migration, too: it held the same keys.
    assert not is_anywhere(path.parent)
    assert {file.name for file in path.parent.iterdir()} == {
        "account.db",
        "account.db.lock",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await check(path, key=KEY)


async def test_the_key_is_kept_before_the_file_in_the_clear_is_gone(
    path: Path,
) -> None:
    await fill(path)
    seen: list[bool] = []

    def keep_key() -> None:
        copy = path.with_name("account.db.encrypted")
        seen.append(is_anywhere(path.parent) and copy.stat().st_size > 0)

    await encrypt(path, KEY, keep_key=keep_key)

    assert seen == [True]


async def test_a_key_that_cannot_be_kept_leaves_the_file_as_it_was(path: Path) -> None:
    await fill(path)

    def keep_key() -> None:
        raise BrokenError

    with pytest.raises(BrokenError):
        await encrypt(path, KEY, keep_key=keep_key)

    assert not path.with_name("account.db.encrypted").exists()
    await check(path, key=None)


async def test_a_crash_after_the_key_was_kept_is_made_good(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path)

    def crash(*_: Path) -> None:
        raise BrokenError

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_exchange", crash)
        with pytest.raises(BrokenError):
            await encrypt(path, KEY, keep_key=lambda: None)
    assert is_anywhere(path.parent)

    await check(path, key=KEY)

    assert not is_anywhere(path.parent)


async def test_what_an_earlier_try_left_is_not_taken_for_the_store(path: Path) -> None:
    await fill(path)
    path.with_name("account.db.encrypted").write_bytes(b"half")
    path.with_name("account.db.encrypted").chmod(0o600)

    await check(path, key=None)
    await encrypt(path, KEY, keep_key=lambda: None)

    await check(path, key=KEY)


async def test_a_store_that_is_open_is_not_encrypted(path: Path) -> None:
    await fill(path)

    async with Database.open(path):
        with pytest.raises(StoreLockedError):
            await encrypt(path, KEY, keep_key=lambda: None)

    await check(path, key=None)


async def test_a_shell_that_has_it_open_is_waited_for_no_longer_than_it_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xmpp_onion.store.connection.BUSY_TIMEOUT", 0.05)
    await fill(path)
    await check(path, key=None)  # brought to the newest version
    shell = sqlite3.connect(path)
    shell.execute("SELECT count(*) FROM keys").fetchall()

    with pytest.raises(StoreError):
        await encrypt(path, KEY, keep_key=lambda: None)

    shell.close()
    await check(path, key=None)


async def test_a_cancellation_at_any_step_leaves_one_of_both(path: Path) -> None:
    for steps in range(0, 120, 4):
        await fill(path)
        kept: list[bool] = []
        async with asyncio.TaskGroup() as tasks:
            keep_key = functools.partial(kept.append, True)  # noqa: FBT003 - a mark
            task = tasks.create_task(encrypt(path, KEY, keep_key=keep_key))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            task.cancel()

        await check(path, key=KEY if kept else None)

        for file in path.parent.iterdir():
            file.unlink()


ENCRYPT = """
import asyncio, os, sys
from pathlib import Path
from xmpp_onion.store import encrypt
print("ready", flush=True)
def keep_key():
    os.close(os.open(sys.argv[3], os.O_CREAT))
    print("kept", flush=True)
asyncio.run(encrypt(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), keep_key=keep_key))
"""


async def test_a_kill_at_any_moment_leaves_one_of_both(tmp_path: Path) -> None:
    for number in range(16):
        path = tmp_path / str(number) / "account.db"
        kept = tmp_path / f"{number}.kept"
        await fill(path)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            ENCRYPT,
            str(path),
            KEY.hex(),
            str(kept),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        for _ in range(1 + number % 2):  # before, or after the key was kept
            await process.stdout.readline()
        await asyncio.sleep(number * 0.002)
        if process.returncode is None:
            process.kill()
        await process.wait()

        await check(path, key=KEY if kept.exists() else None)
        assert kept.exists() or number % 2 == 0
