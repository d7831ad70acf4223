"""The note beside a store: private, never ahead, and harmless when it is damaged."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.unit.store.conftest import write, write_in_vain
from xmpp_onion.errors import StorePermissionError
from xmpp_onion.store import Database, Inbox
from xmpp_onion.store.witness import Witness

STORE = "00" * 16


def note_in(state: Path) -> Path:
    [note] = state.iterdir()
    return note


def link(path: Path, to: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(to)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


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
