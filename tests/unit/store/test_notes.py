"""What a program wants to know after a restart."""

from pathlib import Path

import pytest

from xmpp_onion.store import Database, Notes


async def test_a_text_is_on_the_disk_when_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    async with Database.open(path) as database:
        notes = Notes(database)
        await notes.store("a%", "one")
        await notes.store("a%", "two")
        await notes.store("a%b", "three")
        await notes.store("ab", "four")
        await notes.store("gone", "five")
        await notes.store("gone", None)
        await notes.store("gone", None)
    async with Database.open(path) as database:
        notes = Notes(database)
        assert await notes.load("a%") == "two"
        assert await notes.load("gone") is None
        assert await notes.keys("a%") == ["a%", "a%b"]
        assert await notes.keys() == ["a%", "a%b", "ab"]


async def test_a_text_is_kept_by_itself(database: Database) -> None:
    async with database.transaction():
        with pytest.raises(RuntimeError, match="do not nest"):
            await Notes(database).store("a", "one")
