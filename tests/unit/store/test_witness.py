"""An old copy that is put back is noticed; nothing else is taken for one."""

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from xmpp_onion.errors import StorePermissionError
from xmpp_onion.store import Database, Inbox
from xmpp_onion.store.witness import Witness

STORE = "00" * 16


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "account"


async def write(path: Path, state: Path, count: int = 1) -> None:
    async with Database.open(path, witness=state) as database:
        for _ in range(count):
            async with database.transaction():
                await Inbox(database).add("{}")


async def write_in_vain(database: Database, *, accept: bool) -> None:
    """Raise in a transaction, which undoes it."""
    async with database.transaction():
        await Inbox(database).add("{}")
        if accept:
            await database.accept_rollback()
        raise KeyError


def note_in(state: Path) -> Path:
    [note] = state.iterdir()
    return note


def link(path: Path, to: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(to)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def is_rolled_back(path: Path, state: Path) -> bool:
    async with Database.open(path, witness=state) as database:
        return database.is_rolled_back


def copy(path: Path, to: Path) -> None:
    """Copy the folder of an account that is closed, as a backup does."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(path.parent, to)


async def test_an_old_copy_that_is_put_back_is_noticed(
    path: Path, state: Path, tmp_path: Path
) -> None:
    await write(path, state, 3)
    copy(path, tmp_path / "backup")
    await write(path, state)

    copy(tmp_path / "backup" / path.name, path.parent)

    assert await is_rolled_back(path, state)


async def test_it_stays_noticed_until_it_is_accepted(
    path: Path, state: Path, tmp_path: Path
) -> None:
    await write(path, state)
    copy(path, tmp_path / "backup")
    await write(path, state, 5)
    copy(tmp_path / "backup" / path.name, path.parent)

    await write(path, state, 10)  # other work does not hide it

    async with Database.open(path, witness=state) as database:
        assert database.is_rolled_back
        async with database.transaction():
            await database.accept_rollback()
            assert database.is_rolled_back  # it is not on the disk yet
        assert not database.is_rolled_back
        assert await database.generation() > 1_000_000
    assert not await is_rolled_back(path, state)


async def test_an_acceptance_that_is_undone_does_not_count(
    path: Path, state: Path, tmp_path: Path
) -> None:
    await write(path, state)
    copy(path, tmp_path / "backup")
    await write(path, state, 5)
    copy(tmp_path / "backup" / path.name, path.parent)

    async with Database.open(path, witness=state) as database:
        with pytest.raises(KeyError):
            await write_in_vain(database, accept=True)

        assert database.is_rolled_back


async def test_what_is_copied_to_another_machine_is_no_alarm(
    path: Path, state: Path, tmp_path: Path
) -> None:
    await write(path, state, 3)
    copy(path, tmp_path / "elsewhere")

    assert not await is_rolled_back(tmp_path / "elsewhere" / path.name, tmp_path / "s")


async def test_another_account_in_its_place_is_no_alarm(
    path: Path, state: Path
) -> None:
    await write(path, state, 3)
    shutil.rmtree(path.parent)

    await write(path, state)

    assert not await is_rolled_back(path, state)


async def test_an_encrypted_store_is_watched_as_well(
    path: Path, state: Path, tmp_path: Path, key: bytes | None
) -> None:
    async with Database.open(path, key=key, witness=state) as database:
        copy(path, tmp_path / "backup")
        async with database.transaction():
            await Inbox(database).add("{}")
    copy(tmp_path / "backup" / path.name, path.parent)

    async with Database.open(path, key=key, witness=state) as database:
        assert database.is_rolled_back


async def test_the_note_is_written_before_the_transaction_returns(
    path: Path, state: Path
) -> None:
    async with Database.open(path, witness=state) as database:
        async with database.transaction():
            await Inbox(database).add("{}")

        written = b"%019d " % await database.generation()
        assert note_in(state).read_bytes().startswith(written)


async def test_the_note_is_never_ahead_of_the_disk(path: Path, state: Path) -> None:
    async with Database.open(path, witness=state) as database:
        async with database.transaction():
            await Inbox(database).add("{}")
        with pytest.raises(KeyError):
            await write_in_vain(database, accept=False)

        with sqlite3.connect(path) as other:
            [on_disk] = other.execute("SELECT value FROM generation").fetchone()
        other.close()

        assert note_in(state).read_bytes().startswith(b"%019d " % on_disk)


async def test_the_note_is_private_and_names_nobody(path: Path, state: Path) -> None:
    await write(path, state)

    note = note_in(state)
    assert mode(note) == 0o600
    assert mode(state) == 0o700
    name, _, kind = note.name.partition(".")
    assert (len(bytes.fromhex(name)), kind) == (16, "generation")


async def test_a_note_that_cannot_be_made_is_an_error(path: Path, state: Path) -> None:
    link(state, path)

    with pytest.raises(StorePermissionError, match="symbolic link"):
        await write(path, state)


async def test_what_another_witness_saw_counts_as_much(path: Path, state: Path) -> None:
    await write(path, state, 3)
    async with Database.open(path, witness=state) as database:
        for _ in range(10):  # an old copy gets past it by counting
            async with database.transaction():
                await Inbox(database).add("{}")
        database.heed_witness(4)

        assert database.is_rolled_back
    assert await is_rolled_back(path, state)


async def test_what_another_witness_saw_before_we_opened_is_no_alarm(
    path: Path, state: Path
) -> None:
    await write(path, state, 3)
    async with Database.open(path, witness=state) as database:
        database.heed_witness(3)

        assert not database.is_rolled_back


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"0" * 28,
        b"9999999999999999999 00000000\n",
        b"0000000000000000007",
        b"\0" * 29,
        b"7\n",
    ],
)
def test_a_note_that_is_damaged_raises_no_false_alarm(
    state: Path, damaged: bytes
) -> None:
    state.mkdir(mode=0o700, parents=True)
    note = state / f"{STORE}.generation"
    note.touch(mode=0o600)
    note.write_bytes(damaged)

    with Witness.open(state, STORE) as witness:
        assert witness.value == 0
        witness.note(5)

    with Witness.open(state, STORE) as witness:
        assert witness.value == 5


def test_a_lower_generation_is_not_noted(state: Path) -> None:
    with Witness.open(state, STORE) as witness:
        witness.note(5)
        witness.note(4)

    with Witness.open(state, STORE) as witness:
        assert witness.value == 5


def test_a_disk_that_takes_no_note_stops_nobody(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Witness.open(state, STORE) as witness:
        witness.note(5)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, witness._descriptor)
        os.close(null)
        witness.note(6)
        witness.note(7)

    with Witness.open(state, STORE) as witness:
        assert witness.value == 5
    assert len(caplog.records) == 1
