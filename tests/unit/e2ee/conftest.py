"""Accounts with real OMEMO and a real store, on a server that is only a dict."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.testing.omemo_peer import OmemoPeers


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[OmemoPeers]:
    async with OmemoPeers(tmp_path) as peers:
        yield peers
