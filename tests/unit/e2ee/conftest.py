"""Accounts with real OMEMO and a real store, on a server that is only a dict."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.e2ee import NAMESPACES, OMEMO_OLD
from xmpp_onion.testing.omemo_peer import OmemoPeers


@pytest.fixture(params=[NAMESPACES, (OMEMO_OLD,)], ids=["both", "old"])
async def peers(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[OmemoPeers]:
    """All accounts speak both OMEMO versions, or look as if they spoke the old one."""
    async with OmemoPeers(tmp_path) as peers:
        peers.server.versions = request.param
        yield peers
