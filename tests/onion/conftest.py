"""One private Tor network for all tests of this folder that one process runs."""

import inspect
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from xmpp_onion.testing import TorNetwork, default_template

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every test here in the event loop that the network lives in."""
    for item in items:
        if not isinstance(item, pytest.Function) or HERE not in item.path.parents:
            continue
        if inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tor_network() -> AsyncIterator[TorNetwork]:
    """Return the network; tests keep apart by an onion service each.

    Leave it as you found it: who kills a node restarts it, or brings a network
    of its own.
    """
    # Eight relays: with four, two of five runs of several minutes saw no new
    # circuits for a minute or more.
    async with TorNetwork(relays=8, template=default_template()) as network:
        yield network
