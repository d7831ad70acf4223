import asyncio
import socket

import pytest

from xmpp_onion.testing.hostile import HostileServer, Peer


@pytest.mark.parametrize("turns", range(8))
async def test_a_client_that_comes_while_it_closes_does_not_outlive_it(
    turns: int,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.read("for ever")

    before = asyncio.all_tasks()
    with socket.socket() as client:
        client.setblocking(False)  # noqa: FBT003 - it takes no keyword
        async with HostileServer(script) as server:
            client.connect_ex(("127.0.0.1", server.port))
            for _ in range(turns):
                await asyncio.sleep(0)

        assert asyncio.all_tasks() == before
