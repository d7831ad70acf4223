"""For pytest: ``async with xmpp_server(bot) as server:`` in any test."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from xmpp_onion.bot import Bot
    from xmpp_onion.testing.fake_server import FakeServer

__all__ = ["xmpp_server"]


@pytest.fixture
def xmpp_server() -> "Callable[[Bot], FakeServer]":
    """Return what makes a bot's world in memory."""
    # Not at the top: pytest loads this module also where no test wants it.
    from xmpp_onion.testing.fake_server import FakeServer  # noqa: PLC0415 - as above

    return FakeServer
