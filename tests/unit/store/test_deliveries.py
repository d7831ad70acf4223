from dataclasses import replace
from pathlib import Path

import pytest

from xmpp_onion.store import Database, DeliveryRow, DeliveryRows

ROW = DeliveryRow(
    message_id="m1",
    to="bob@x",
    devices=2,
    text_only=1,
    skipped=("device 9",),
    state="queued",
)


async def test_a_row_is_there_after_a_restart(path: Path) -> None:
    async with Database.open(path) as database, database.transaction():
        await DeliveryRows(database).add(ROW)

    async with Database.open(path) as database:
        assert await DeliveryRows(database).load("m1") == ROW


async def test_a_row_is_found_for_its_recipient_only(path: Path) -> None:
    async with Database.open(path) as database:
        rows = DeliveryRows(database)
        async with database.transaction():
            await rows.add(ROW)

        assert await rows.load("m1", "bob@x") == ROW
        assert await rows.load("m1", "mallory@x") is None
        assert await rows.load("m2") is None


async def test_a_state_is_set_with_its_reason(path: Path) -> None:
    async with Database.open(path) as database:
        rows = DeliveryRows(database)
        async with database.transaction():
            await rows.add(ROW)
            changed = replace(ROW, state="failed", reason="no such account", devices=0)
            await rows.set(changed)
        row = await rows.load("m1")

    assert row == changed


async def test_the_oldest_rows_are_forgotten(path: Path) -> None:
    async with Database.open(path) as database:
        rows = DeliveryRows(database, limit=2)
        async with database.transaction():
            for number in range(4):
                await rows.add(replace(ROW, message_id=str(number), state="received"))
        known = [await rows.load(str(number)) is not None for number in range(4)]

    assert known == [False, False, True, True]


async def test_what_may_fail_yet_is_known_for_longer_and_what_waits_always(
    path: Path,
) -> None:
    async with Database.open(path) as database:
        rows = DeliveryRows(database, limit=2, acked_limit=4)
        async with database.transaction():
            for number in range(9):
                state = ("queued", "acked", "failed")[number % 3]
                await rows.add(replace(ROW, message_id=str(number), state=state))
        known = [n for n in range(9) if await rows.load(str(n)) is not None]

    assert known == [0, 3, 6, 7, 8]


async def test_nothing_is_written_outside_a_transaction(path: Path) -> None:
    async with Database.open(path) as database:
        with pytest.raises(RuntimeError, match="transaction"):
            await DeliveryRows(database).add(ROW)
