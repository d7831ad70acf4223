"""Accounts with real OMEMO and a real store, on a server that is only a dict."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from xmpp_onion.address import JID
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing.fake_pep import FakePepServer
from xmpp_onion.testing.omemo_peer import OmemoPeer


@pytest.fixture
def server() -> FakePepServer:
    return FakePepServer()


@pytest.fixture
async def peer(
    tmp_path: Path, server: FakePepServer
) -> AsyncIterator[Callable[..., Awaitable[OmemoPeer]]]:
    """Make a device; it is closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def make(
            name: str,
            policy: Trust = Trust.TOFU,
            *,
            device: str = "phone",
            pins: dict[JID, frozenset[str]] | None = None,
        ) -> OmemoPeer:
            made = OmemoPeer(name, server, tmp_path, policy, device=device, pins=pins)
            return await stack.enter_async_context(made)

        yield make
