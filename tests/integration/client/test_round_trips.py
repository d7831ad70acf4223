"""How often one waits for the server, counted on a real one through a slow proxy."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client
from xmpp_onion.server import Prosody
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.transport import Tor

Enrol: TypeAlias = Callable[[str], Awaitable[Account]]

pytestmark = [pytest.mark.prosody, pytest.mark.alone]

# Seconds: well above what a program thinks, so that the count is exact.
RTT = 1.0


async def test_a_first_login_takes_9_and_ten_strangers_no_more_than_6(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    async with AsyncExitStack() as stack:
        alice = await enrol("alice")
        strangers = [
            await stack.enter_async_context(
                Client(await enrol(f"stranger{number}"), tor=wire)
            )
            for number in range(10)
        ]
        routes = {prosody.onion: prosody.c2s_port}
        proxy = await stack.enter_async_context(ChaosProxy(routes=routes, rtt=RTT))
        tor = await stack.enter_async_context(Tor.attach(proxy.socks))
        client = await stack.enter_async_context(Client(alice, tor=tor))
        login = proxy.round_trips
        async with asyncio.timeout(60):  # what a new device checks, once
            while await client._outbox.jobs():  # noqa: ASYNC110 - nothing tells when they are done
                await asyncio.sleep(0.1)
        checks = proxy.round_trips - login

        before = proxy.flights
        async with asyncio.TaskGroup() as tasks:
            for stranger in strangers:
                tasks.create_task(client.send(stranger.jid, "hello"))
            for stranger in strangers:
                assert (await anext(stranger.messages())).text == "hello"
            ten = proxy.flights - before

    assert (login <= 9, checks <= 2, ten <= 6) == (True, True, True), (
        login,
        checks,
        ten,
    )
