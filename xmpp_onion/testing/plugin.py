"""For pytest: ``async with xmpp_server(bot) as server:`` in any test.

``--xmpp-crypto real`` runs the same tests with keys, and ``--xmpp-server prosody`` on
a real server. What was said stands in the report of a test that fails.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from xmpp_onion.bot import Bot
    from xmpp_onion.testing.fake_server import FakeServer

__all__ = ["xmpp_server"]

_SERVERS: "pytest.StashKey[list[FakeServer]]" = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the command line choose what ``xmpp_server`` makes."""
    group = parser.getgroup("xmpp-onion", "bots of xmpp-onion")
    group.addoption(
        "--xmpp-crypto",
        choices=("none", "real"),
        default="none",
        help="real: what is said between a bot and its users is encrypted with OMEMO",
    )
    group.addoption(
        "--xmpp-server",
        choices=("memory", "prosody"),
        default="memory",
        help="prosody: a bot and its users are clients of a Prosody on loopback",
    )


@pytest.fixture
def xmpp_server(request: pytest.FixtureRequest) -> "Callable[[Bot], FakeServer]":
    """Return what makes a bot's world, of the kind that the options choose."""
    # Not at the top: pytest loads this module also where no test wants it.
    from xmpp_onion.testing.fake_server import FakeServer  # noqa: PLC0415 - as above

    servers = request.node.stash.setdefault(_SERVERS, [])

    def make(bot: "Bot") -> FakeServer:
        server = FakeServer(
            bot,
            crypto=request.config.getoption("--xmpp-crypto", "none"),
            server=request.config.getoption("--xmpp-server", "memory"),
        )
        servers.append(server)
        return server

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> "Generator[None, pytest.TestReport, pytest.TestReport]":
    """Show what was said where a test fails."""
    report = yield
    if report.failed:
        for server in item.stash.get(_SERVERS, []):
            said = "\n".join(server.transcript) or "nothing"
            report.sections.append((f"What was said with {server.bot.name}", said))
    return report
