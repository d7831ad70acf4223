from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.store import Database, SetAside, WaitingRow
from xmpp_onion.store import set_aside as module


def row(
    key: str,
    sender: str = "bob@x",
    *,
    is_stranger: bool = False,
) -> WaitingRow:
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    xml = f"<message {key}/>"
    return WaitingRow(key, sender, xml, "", at, at, is_stranger)


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


async def test_strangers_fill_their_room_and_take_none_from_contacts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRANGER_LIMIT", 2)
    monkeypatch.setattr(module, "STRANGERS_LIMIT", 3)
    monkeypatch.setattr(module, "CONTACT_LIMIT", 4)
    async with Database.open(path) as database, database.transaction():
        room = SetAside(database)

        async def add(who: str, count: int, *, is_stranger: bool) -> int:
            rows = (
                row(f"{who}{n}", who, is_stranger=is_stranger) for n in range(count)
            )
            return sum([await room.add(each) for each in rows])

        assert await add("bob@x", 9, is_stranger=False) == 4
        assert await add("mallory@x", 9, is_stranger=True) == 2
        assert await add("eve@x", 9, is_stranger=True) == 1
        assert await add("carol@x", 9, is_stranger=False) == 4


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
