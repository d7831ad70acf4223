"""What ended a process is not tried for ever, and nothing else is left out."""

from pathlib import Path

import pytest

from xmpp_onion.errors import SessionLostError
from xmpp_onion.store import Attempts, Database, Keys


async def die_of(path: Path, *keys: str, done: str = "") -> list[bool]:
    """Try messages in a process that ends without a word; tell which were tried."""
    async with Database.open(path) as database:
        attempts = Attempts(database, Keys(database))
        await attempts.__aenter__()
        tried = [await attempts.may_try(key) for key in keys]
        async with database.transaction():
            await attempts.note_done(done)
        return tried


async def test_what_was_in_hand_four_times_is_not_tried_a_fifth_time(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"

    tried = [await die_of(path, f"new {turn}", "deadly") for turn in range(6)]

    assert tried == [[True, True]] * 4 + [[True, False]] * 2


async def test_what_was_read_is_not_to_blame(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    for _ in range(10):
        assert await die_of(path, "harmless", done="harmless") == [True]


@pytest.mark.parametrize("error", [None, SessionLostError("over"), OSError("full")])
async def test_an_end_in_order_blames_nobody(
    tmp_path: Path, error: BaseException | None
) -> None:
    path = tmp_path / "store.db"

    for _ in range(10):
        async with Database.open(path) as database:
            attempts = Attempts(database, Keys(database))
            await attempts.__aenter__()
            assert await attempts.may_try("cancelled")
            group = error and BaseExceptionGroup("of a task", [error])
            await attempts.__aexit__(group and type(group), group, None)


async def test_an_end_by_a_failure_of_the_program_is_none_in_order(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    tried = []

    for _ in range(6):
        async with Database.open(path) as database:
            attempts = Attempts(database, Keys(database))
            await attempts.__aenter__()
            tried.append(await attempts.may_try("too large"))
            await attempts.__aexit__(MemoryError, MemoryError(), None)

    assert tried == [True] * 4 + [False] * 2


async def test_nothing_is_written_while_nothing_ends_without_a_word(
    tmp_path: Path,
) -> None:
    async with (
        Database.open(tmp_path / "store.db") as database,
        Attempts(database, Keys(database)) as attempts,
    ):
        before = await database.generation()
        for number in range(100):
            assert await attempts.may_try(str(number))
            async with database.transaction():
                await attempts.note_done(str(number))

        assert await database.generation() - before <= 100
