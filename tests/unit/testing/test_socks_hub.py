"""The stand-in for Tor between servers: it leads, refuses, keeps silent and goes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.testing.socks_hub import Manner, SocksHub
from xmpp_onion.testing.socks_server import (
    RefusedError,
    Request,
    dial_upstream,
    reply,
)

PEER = str(OnionAddress.from_public_key(bytes(32)))


@pytest.fixture
async def hub() -> AsyncIterator[SocksHub]:
    """A hub that knows one peer, which greets and hangs up."""

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with SocksHub() as hub, await asyncio.start_server(greet, "127.0.0.1") as one:
        hub.routes[PEER] = one.sockets[0].getsockname()[1]
        yield hub


async def dial(hub: SocksHub, host: str) -> bytes:
    """Return what the far end says until it hangs up."""
    reader, writer = await dial_upstream(
        f"127.0.0.1:{hub.port}", Request(host, 5269, "us", "them")
    )
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("host", [PEER, f"muc.{PEER}"])
async def test_a_name_and_what_is_below_it_lead_to_the_peer(
    hub: SocksHub, host: str
) -> None:
    assert await dial(hub, host) == b"hello"
    assert hub.asked == [Request(host, 5269, "us", "them")]


async def test_an_unknown_name_is_refused_as_tor_does(hub: SocksHub) -> None:
    with pytest.raises(RefusedError) as caught:
        await dial(hub, str(OnionAddress.from_public_key(bytes([1] * 32))))

    assert caught.value.reply == 0xF0


async def test_manners_come_in_their_order_and_the_script_first(hub: SocksHub) -> None:
    hub.manners[PEER] = Manner.refusal(0xF2)
    hub.script = [Manner.refusal(0xF7), Manner(is_bytewise=True)]

    with pytest.raises(RefusedError) as first:
        await dial(hub, PEER)
    second = await dial(hub, PEER)
    with pytest.raises(RefusedError) as third:
        await dial(hub, PEER)

    assert (first.value.reply, second, third.value.reply) == (0xF7, b"hello", 0xF2)


async def test_a_silent_hub_keeps_the_connection_until_it_goes(hub: SocksHub) -> None:
    hub.manners[PEER] = Manner(None)

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(hears_of_the_end(hub))
        await hub.has_asked(1)
        assert not waiting.done()
        await hub.go_away()


async def hears_of_the_end(hub: SocksHub) -> None:
    with pytest.raises((EOFError, ConnectionError)):
        await dial(hub, PEER)


async def test_a_hub_that_comes_back_is_at_the_same_place(hub: SocksHub) -> None:
    port = hub.port

    await hub.go_away()
    with pytest.raises(ConnectionError):
        await dial(hub, PEER)
    await hub.come_back()

    assert hub.port == port
    assert await dial(hub, PEER) == b"hello"


async def test_the_end_of_one_side_is_the_end_of_both(hub: SocksHub) -> None:
    hub.manners[PEER] = Manner(reply(0), leads_on=False)

    assert await dial(hub, PEER) == b""
