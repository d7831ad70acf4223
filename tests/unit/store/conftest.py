"""A store in a folder of its own for each test, in the clear and encrypted."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.store import Database, Inbox

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account" / "account.db"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where it is noted how far a store has come."""
    return tmp_path / "state" / "account"


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    """What the store is encrypted with: every claim holds for both kinds."""
    assert request.param is None or isinstance(request.param, bytes)
    return request.param


@pytest.fixture
async def database(path: Path, key: bytes | None) -> AsyncIterator[Database]:
    async with Database.open(path, key=key) as database:
        yield database


async def write(path: Path, state: Path, count: int = 1) -> None:
    """Let a store come so many transactions further."""
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
