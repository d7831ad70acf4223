"""An old copy that is put back is noticed; nothing else is taken for one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.store.conftest import write, write_in_vain
from xmpp_onion.store import Database, Inbox
from xmpp_onion.store.progress import Progress
from xmpp_onion.store.witness import Witness

STORE = "00" * 16


@pytest.fixture
def witness(state: Path) -> Iterator[Witness]:
    with Witness.open(state, STORE) as opened:
        yield opened


async def is_rolled_back(path: Path, state: Path) -> bool:
    async with Database.open(path, witness=state) as database:
        return database.progress.is_rolled_back


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
        assert database.progress.is_rolled_back
        async with database.transaction():
            await database.accept_rollback()
            assert database.progress.is_rolled_back  # it is not on the disk yet
        assert not database.progress.is_rolled_back
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

        assert database.progress.is_rolled_back


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
        assert database.progress.is_rolled_back


async def test_what_another_witness_saw_counts_as_much(path: Path, state: Path) -> None:
    await write(path, state, 3)
    async with Database.open(path, witness=state) as database:
        for _ in range(10):  # an old copy gets past it by counting
            async with database.transaction():
                await Inbox(database).add("{}")
        database.progress.heed(4)

        assert database.progress.is_rolled_back
    assert await is_rolled_back(path, state)


async def test_what_another_witness_saw_before_we_opened_is_no_alarm(
    path: Path, state: Path
) -> None:
    await write(path, state, 3)
    async with Database.open(path, witness=state) as database:
        database.progress.heed(3)

        assert not database.progress.is_rolled_back


def begin(witness: Witness, generation: int) -> Progress:
    progress = Progress(Path("store.db"))
    progress.begin(generation, witness, STORE)
    return progress


def test_without_a_witness_nothing_is_old() -> None:
    progress = Progress(Path("store.db"))
    progress.note(7)
    progress.heed(9)

    assert (progress.reached, progress.highest) == (7, 0)
    assert not progress.is_rolled_back


def test_what_was_noted_once_is_known_of_the_next_one(witness: Witness) -> None:
    begin(witness, 3).note(7)

    assert not begin(witness, 7).is_rolled_back
    assert begin(witness, 6).is_rolled_back


def test_an_old_copy_does_not_get_out_of_it_by_counting(witness: Witness) -> None:
    begin(witness, 3).note(7)
    old = begin(witness, 6)
    for generation in range(7, 1000):
        old.note(generation)

    assert old.is_rolled_back
    assert old.reached == 999
    old.note(old.highest)
    assert not old.is_rolled_back


@pytest.mark.parametrize(("told", "is_old"), [(6, False), (7, False), (8, True)])
def test_what_others_were_told_is_compared_with_where_it_was_opened(
    witness: Witness, told: int, *, is_old: bool
) -> None:
    progress = begin(witness, 7)
    progress.note(20)

    progress.heed(told)

    assert progress.is_rolled_back is is_old


def test_a_transaction_that_changed_nothing_takes_nothing_back(
    witness: Witness,
) -> None:
    progress = begin(witness, 7)
    progress.note(8)
    progress.note(0)  # as a group says that changed nothing

    assert progress.reached == 8
