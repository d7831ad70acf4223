"""One private Tor network for all tests of this folder that one process runs."""

import asyncio
import inspect
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from xmpp_onion.testing import TorNetwork, default_template

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
# Whoever runs the tests with nohup means them, and not the servers that they start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
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


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def every_node_is_up(request: pytest.FixtureRequest) -> None:
    """Start again what died by itself: it fails one test, and not all behind it.

    tor 0.4.9.11 was seen to die of signal 11 in ``hs_circ_handle_introduce2``, in the
    second in which a service had been started again.
    """
    if "tor_network" not in request.fixturenames:
        return
    network: TorNetwork = request.getfixturevalue("tor_network")
    await asyncio.sleep(0.01)  # the loop hears of who died while a test held it up
    for node in network.nodes:
        if network.pid(node) is None:
            log.warning("%s had died: %s", node, network.collect_logs()[node][-2000:])
            await network.restart(node)
