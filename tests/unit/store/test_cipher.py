"""Encrypted at rest: no byte of it on the disk, and a hard error for what is wrong."""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from xmpp_onion.errors import StoreCorruptError, StoreError, StoreKeyError
from xmpp_onion.store import Database, Inbox, Keys, Outbox, cipher, schema

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
CANARIES = ["identity-key-canary", "plaintext-canary", "bob@canary.onion"]
NEXT = "CREATE TABLE later (id TEXT) STRICT; PRAGMA user_version = 1000;"


async def fill(path: Path, *, key: bytes | None) -> None:
    async with Database.open(path, key=key) as database:
        keys, outbox, inbox = Keys(database), Outbox(database), Inbox(database)
        identity, plaintext, jid = CANARIES
        for _ in range(50):
            async with database.transaction():
                await keys.store("identity", identity * 50)
                await inbox.add(plaintext * 50)
                row = await outbox.add(plaintext * 50, to=jid, message_id="1")
            async with database.transaction():
                await outbox.remove(row)


async def open_and_close(
    path: Path, *, key: bytes | None, migrations: Sequence[str] = schema.MIGRATIONS
) -> None:
    async with Database.open(path, key=key, migrations=migrations):
        pass


def contents(folder: Path) -> dict[str, bytes]:
    """What lies on the disk; the lock has a process id in it and no more."""
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if not file.name.endswith((".lock", "-shm")) and file.stat().st_size
    }


def found(folder: Path) -> set[str]:
    """The canaries that stand in any file, in any encoding that SQLite has."""
    data = b"".join(file.read_bytes() for file in folder.iterdir())
    return {
        text
        for text in [*CANARIES, "SQLite format 3", "CREATE TABLE"]
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
        if text.encode(encoding) in data
    }


async def test_no_byte_of_it_is_in_any_file_at_any_time(
    path: Path, tmp_path: Path
) -> None:
    crashed = tmp_path / "crashed"
    async with Database.open(path, key=KEY):
        pass
    await fill(path, key=KEY)
    async with Database.open(path, key=KEY) as database:
        async with database.transaction():
            await Inbox(database).add(CANARIES[1] * 100)
            await database.execute("DELETE FROM keys")
        shutil.copytree(path.parent, crashed)  # with log and shared memory
    await open_and_close(path, key=KEY, migrations=(*schema.MIGRATIONS, NEXT))

    assert {"account.db-wal", "account.db-shm"} <= {f.name for f in crashed.iterdir()}
    assert (path.parent / f"account.db.backup-v{len(schema.MIGRATIONS)}").exists()
    assert found(crashed) | found(path.parent) == set()


async def test_the_canaries_are_found_where_nothing_is_encrypted(path: Path) -> None:
    await fill(path, key=None)

    assert set(CANARIES) <= found(path.parent) | {CANARIES[2]}


async def test_a_backup_before_a_migration_opens_with_the_same_key(path: Path) -> None:
    await fill(path, key=KEY)
    await open_and_close(path, key=KEY, migrations=(*schema.MIGRATIONS, NEXT))
    backup = path.with_name(f"account.db.backup-v{len(schema.MIGRATIONS)}")

    async with Database.open(backup, key=KEY) as database:
        assert len(await Inbox(database).pending()) == 50


@pytest.mark.parametrize(
    ("made", "given", "error", "way_out"),
    [
        (KEY, OTHER, StoreCorruptError, "encrypted with another key"),
        (KEY, None, StoreCorruptError, "encrypted with another key"),
        (None, KEY, StoreKeyError, "is not encrypted"),
    ],
    ids=["another key", "no key", "a key for a file in the clear"],
)
async def test_what_does_not_fit_is_a_hard_error_and_changes_nothing(
    path: Path,
    made: bytes | None,
    given: bytes | None,
    error: type[StoreError],
    way_out: str,
) -> None:
    await fill(path, key=made)
    before = contents(path.parent)

    with pytest.raises(error, match=way_out) as caught:
        await open_and_close(path, key=given)

    assert "left as it is" in caught.value.fix
    assert "backup" in caught.value.fix
    assert contents(path.parent) == before
    await open_and_close(path, key=made)


async def test_a_wrong_key_is_told_by_us_alone(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await fill(path, key=KEY)

    with pytest.raises(StoreCorruptError) as caught:
        await open_and_close(path, key=OTHER)

    assert capfd.readouterr() == ("", "")
    assert OTHER.hex() not in repr(caught.value)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 48, 64])
async def test_a_key_of_another_length_is_never_taken_for_a_passphrase(
    path: Path, length: int
) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        await open_and_close(path, key=bytes(length))

    assert not path.exists()


async def test_two_files_of_one_key_have_nothing_in_common(
    path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "account.db"
    await fill(path, key=KEY)
    await fill(other, key=KEY)

    pages = [
        {data[at : at + 16] for at in range(0, len(data), 16)}
        for data in (path.read_bytes(), other.read_bytes())
    ]

    assert pages[0] & pages[1] == set()


@pytest.mark.parametrize("page", [0, 1, 5])
async def test_a_changed_byte_anywhere_is_noticed(path: Path, page: int) -> None:
    await fill(path, key=KEY)
    data = bytearray(path.read_bytes())
    data[4096 * page + 2000] ^= 1
    path.write_bytes(data)

    with pytest.raises(StoreCorruptError):
        await open_and_close(path, key=KEY)

    assert path.read_bytes() == data


def test_without_sqlcipher_the_error_says_what_to_install(path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "sys.modules['sqlcipher3.dbapi2'] = None\n"
        "from xmpp_onion.errors import StoreError\n"
        "from xmpp_onion.store import Database\n"
        "async def main(key):\n"
        "    async with Database.open(Path(sys.argv[1]), key=key): pass\n"
        "try: asyncio.run(main(bytes(32)))\n"
        "except StoreError as error: print(error.exit_code, error.fix)\n"
        "assert not Path(sys.argv[1]).exists()\n"
        "asyncio.run(main(None))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        text=True,
        capture_output=True,
        check=True,
    )

    assert done.stdout == "7 pip install 'xmpp-onion[atrest]'\n"


def test_a_store_in_the_clear_does_not_load_sqlcipher(path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from xmpp_onion.store import Database\n"
        "async def main():\n"
        "    async with Database.open(Path(sys.argv[1])): pass\n"
        "asyncio.run(main())\n"
        "assert not [name for name in sys.modules if name.startswith('sqlcipher')]"
    )

    subprocess.run([sys.executable, "-c", script, str(path)], check=True)


def test_what_is_not_there_is_not_in_the_clear(path: Path) -> None:
    assert not cipher.is_plain(path)
