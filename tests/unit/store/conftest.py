"""A store in a folder of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.store import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account" / "account.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database.open(path) as database:
        yield database
