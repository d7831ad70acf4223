from pathlib import Path

import pytest

from xmpp_onion.store import Database, Owed, OwedRow
from xmpp_onion.store import owed as module


async def test_what_is_owed_is_owed_once_in_its_order_and_after_a_restart(
    path: Path,
) -> None:
    async with Database.open(path) as database, database.transaction():
        for name in ("b", "a", "b"):
            await Owed(database).add(OwedRow("bob@x", name))

    async with Database.open(path) as database:
        found, rows = [], Owed(database)
        while row := await rows.first():
            found.append(row.message_id)
            async with database.transaction():
                await rows.remove(row.to, row.message_id)
    assert found == ["b", "a"]


async def test_one_contact_does_not_make_us_owe_without_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OWED_LIMIT", 2)
    async with Database.open(path) as database:
        async with database.transaction():
            for name in "abcd":
                await Owed(database).add(OwedRow("bob@x", name))
            await Owed(database).add(OwedRow("carol@x", "a"))
        rows = await database.fetch("SELECT recipient FROM owed ORDER BY id")

    assert [row["recipient"] for row in rows] == ["bob@x", "bob@x", "carol@x"]
