"""Tokens on the disk: their hashes, never the tokens."""

from pathlib import Path

import pytest

from xmpp_onion.store import Database, TokenRow, Tokens

ROW = TokenRow("monitor", "ab" * 32, "send", ("a@b", "c@d"), "2026-11-26T07:00:00Z")


async def test_a_token_is_on_the_disk_when_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    other = TokenRow("backup", "cd" * 32, "send", ("a@b",), "2026-11-26T07:00:00Z")
    async with Database.open(path) as database:
        await Tokens(database).add(ROW)
        await Tokens(database).add(other)
    async with Database.open(path) as database:
        tokens = Tokens(database)
        assert await tokens.all() == [other, ROW]
        await tokens.remove("backup")
        await tokens.remove("backup")
        assert await tokens.all() == [ROW]


async def test_a_token_is_kept_by_itself(database: Database) -> None:
    async with database.transaction():
        with pytest.raises(RuntimeError, match="do not nest"):
            await Tokens(database).add(ROW)
