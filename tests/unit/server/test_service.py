"""A server that cannot start; the rest is in tests/onion/test_server.py."""

from pathlib import Path

import pytest

from xmpp_onion.errors import ProsodyNotFoundError
from xmpp_onion.server import Server, initialise
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.transport import Tor


async def test_nothing_is_published_where_prosody_is_missing(tmp_path: Path) -> None:
    async with FakeSocks() as proxy, Tor.attach(proxy.socks) as tor:
        server = Server(tmp_path, tor=tor, prosody="not-there")

        with pytest.raises(ProsodyNotFoundError):
            await server.__aenter__()
    assert not proxy.asked


def test_the_address_is_known_before_the_start(tmp_path: Path) -> None:
    onion = initialise(tmp_path)

    assert Server(tmp_path, tor=Tor.attach("127.0.0.1:1")).onion == onion
