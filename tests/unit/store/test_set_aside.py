from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.store import Database, SetAside, WaitingRow
from xmpp_onion.store import set_aside as module


def row(key: str, sender: str = "bob@x") -> WaitingRow:
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    return WaitingRow(key, sender, f"<message {key}/>", "", at)


async def test_what_waits_is_there_after_a_restart_and_in_its_order(path: Path) -> None:
    async with Database.open(path) as database, database.transaction():
        for key in ("b", "a", "b"):
            assert await SetAside(database).add(row(key))

    async with Database.open(path) as database:
        room = SetAside(database)
        assert await room.senders() == {"bob@x"}
        assert await room.first("bob@x") == row("b")
        async with database.transaction():
            await room.remove("b")
        assert await room.first("bob@x") == row("a")
        async with database.transaction():
            await room.remove("a")
        assert await room.first("bob@x") is None
        assert await room.senders() == frozenset()


async def test_one_sender_cannot_fill_the_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SENDER_LIMIT", 2)
    monkeypatch.setattr(module, "LIMIT", 3)
    async with Database.open(path) as database, database.transaction():
        room = SetAside(database)
        assert [await room.add(row(str(n))) for n in range(3)] == [True, True, False]
        assert await room.add(row("other", "carol@x"))
        assert not await room.add(row("one more", "dave@x"))


async def test_what_is_rolled_back_does_not_wait(path: Path) -> None:
    async def undone() -> None:
        async with database.transaction():
            await room.add(row("a"))
            assert await room.senders() == {"bob@x"}
            raise KeyError

    async with Database.open(path) as database:
        room = SetAside(database)
        with pytest.raises(KeyError):
            await undone()
        assert await room.senders() == frozenset()
