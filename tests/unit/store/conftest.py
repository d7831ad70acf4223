"""A store in a folder of its own for each test, in the clear and encrypted."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.store import Database

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account" / "account.db"


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    """What the store is encrypted with: every claim holds for both kinds."""
    assert request.param is None or isinstance(request.param, bytes)
    return request.param


@pytest.fixture
async def database(path: Path, key: bytes | None) -> AsyncIterator[Database]:
    async with Database.open(path, key=key) as database:
        yield database
