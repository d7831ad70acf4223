"""What goes out with a login, counted on both servers, and what becomes of it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.client.conftest import Enrol
from xmpp_onion import JID, Account, Client
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.session import register_and_learn
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.chaos import Direction
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.prosody_modules import add_quick_login, find_modules
from xmpp_onion.transport import Tor

pytestmark = pytest.mark.prosody

# Seconds: well above what a program thinks, so that the count is exact.
RTT = 1.0


@pytest.fixture
def in_one() -> bool:
    """Whether the server takes a login in one question (SASL2)."""
    return True


@pytest.fixture
async def prosody(
    prosody_program: str, tmp_path: Path, *, in_one: bool
) -> AsyncIterator[Prosody]:
    initialise(tmp_path / "server")
    if in_one:
        modules = find_modules()
        assert modules, "run scripts/fetch-prosody-modules"
        add_quick_login(tmp_path / "server", modules, program=prosody_program)
    async with Prosody(tmp_path / "server", program=prosody_program) as running:
        yield running


async def leave_one_waiting(
    alice: Account, bob: str, prosody: Prosody, *, token: str = ""
) -> None:
    """Have a message to bob wait on alice's disk, and maybe another token."""
    async with (
        ChaosProxy(routes={str(prosody.onion): prosody.c2s_port}) as proxy,
        Tor.attach(proxy.socks) as tor,
        Client(alice, tor=tor) as client,
    ):
        await client.send(bob, "hello")
        proxy.swallow(Direction.UP)
        # The server does not hear that we leave.
        client._session.timing = replace(client._session.timing, goodbye=0.1)
        await client.queue(bob, "it waits")
        assert await client.queued() == 1
        if token:
            await client._session._learn(replace(client._session._known, token=token))


async def until_sent(client: Client) -> None:
    async with asyncio.timeout(60):
        while await client.queued():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


@pytest.mark.alone
async def test_a_later_login_can_encrypt_and_has_sent_what_waited_after_one_round_trip(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    async with AsyncExitStack() as stack:
        alice, bob = await enrol("alice"), await enrol("bob")
        reader = await stack.enter_async_context(Client(bob, tor=wire))
        messages = reader.messages()
        await leave_one_waiting(alice, str(bob.jid), prosody)
        assert (await anext(messages)).text == "hello"

        routes = {str(prosody.onion): prosody.c2s_port}
        proxy = await stack.enter_async_context(ChaosProxy(routes=routes, rtt=RTT))
        tor = await stack.enter_async_context(Tor.attach(proxy.socks))
        client = await stack.enter_async_context(Client(alice, tor=tor))
        ready = proxy.round_trips
        await until_sent(client)
        sent = proxy.round_trips
        assert (await anext(messages)).text == "it waits"

        await asyncio.sleep(4 * RTT)  # until the stream is at rest
        before = proxy.round_trips
        proxy.cut()
        while not client.is_away:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        await client.queue(str(bob.jid), "said while away")
        await until_sent(client)
        resumed = proxy.round_trips - before
        assert (await anext(messages)).text == "said while away"

    assert (ready, sent, resumed) == (1, 1, 1)


# Round trips by whether the server has SASL2, and whether TLS is spoken inside the
# circuit: of the first login until the new device is published; of a later one until
# it can encrypt, and until what waited is acknowledged.
LOGINS = {
    (True, True): (7, 3, 3),
    (False, False): (5, 3, 3),
    (False, True): (8, 5, 5),
}


@pytest.mark.alone
@pytest.mark.parametrize("in_one", [True, False])
async def test_without_sasl2_and_with_tls_a_login_waits_as_often_as_promised(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, *, in_one: bool
) -> None:
    bob = await enrol("bob")
    async with Client(bob, tor=wire):
        pass  # has published its keys
    ways = [way for way in LOGINS if way[0] is in_one]
    who = [replace(await enrol(f"alice-{tls}"), tls=tls) for _, tls in ways]

    counted = await asyncio.gather(
        *(count_logins(alice, bob.jid, prosody) for alice in who)
    )

    assert dict(zip(ways, counted, strict=True)) == {way: LOGINS[way] for way in ways}


async def count_logins(
    alice: Account, bob: JID, prosody: Prosody
) -> tuple[int, int, int]:
    routes = {str(prosody.onion): prosody.c2s_port}
    async with (
        ChaosProxy(routes=routes, rtt=RTT) as proxy,
        Tor.attach(proxy.socks) as tor,
        Client(alice, tor=tor),
    ):
        first = proxy.round_trips
    await leave_one_waiting(alice, str(bob), prosody)
    async with (
        ChaosProxy(routes=routes, rtt=RTT) as proxy,
        Tor.attach(proxy.socks) as tor,
        Client(alice, tor=tor) as client,
    ):
        later = proxy.round_trips
        await until_sent(client)
        return first, later, proxy.round_trips


@pytest.mark.alone
@pytest.mark.parametrize("tls", [True, False])
async def test_who_was_invited_logs_in_in_two_and_is_published_in_three(
    prosody: Prosody, wire: LoopbackDialer, tmp_path: Path, *, tls: bool
) -> None:
    invite = await prosody.invite("alice")
    made = await register_and_learn(invite, "alice", "secret", tor=wire, tls=tls)
    account = Account(
        profile="alice",
        folder=tmp_path / "alice",
        jid=JID(f"alice@{prosody.onion}"),
        password="secret",
        certificate=made.certificate,
        offered=made.known.dump(),
    )
    async with (
        ChaosProxy(routes={str(prosody.onion): prosody.c2s_port}, rtt=RTT) as proxy,
        Tor.attach(proxy.socks) as tor,
        Client(account, tor=tor) as client,
    ):
        assert client._session.losses == 0
        assert proxy.round_trips == 3


async def test_a_token_that_is_refused_loses_nothing_of_what_was_said_behind_it(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    alice, bob = await enrol("alice"), await enrol("bob")
    async with Client(bob, tor=wire) as reader:
        messages = reader.messages()
        await leave_one_waiting(alice, str(bob.jid), prosody, token="of another time")
        tor = LoopbackDialer(prosody.c2s_port)
        async with Client(alice, tor=tor) as client:
            await until_sent(client)
            await client.send(str(bob.jid), "the last one")
        texts = [(await anext(messages)).text for _ in range(3)]

    assert texts == ["hello", "it waits", "the last one"]
    assert len(tor.dialed) == 1  # the password is proved on the same connection


async def test_a_stream_that_the_server_forgot_loses_nothing_either(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    alice, bob = await enrol("alice"), await enrol("bob")
    tor = LoopbackDialer(prosody.c2s_port)
    async with Client(bob, tor=wire) as reader, Client(alice, tor=tor) as client:
        messages = reader.messages()
        await client.send(str(bob.jid), "hello")
        await until_at_rest(client)
        client._session.xmpp.resume_id = "of-another-time"
        tor.cut()
        while not client.is_away:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        await client.queue(str(bob.jid), "said while away")
        await until_sent(client)
        await client.send(str(bob.jid), "the last one")
        texts = [(await anext(messages)).text for _ in range(3)]

    assert texts == ["hello", "said while away", "the last one"]
    assert len(tor.dialed) == 2


async def until_at_rest(client: Client) -> None:
    async with asyncio.timeout(60):
        while len(client._session.xmpp.outgoing):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


async def test_a_first_flight_that_breaks_anywhere_loses_and_doubles_nothing(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    alice, bob = await enrol("alice"), await enrol("bob")
    async with (
        ChaosProxy(routes={str(prosody.onion): prosody.c2s_port}) as proxy,
        Tor.attach(proxy.socks) as tor,
        Client(bob, tor=wire) as reader,
        Client(alice, tor=tor) as client,
    ):
        messages = reader.messages()
        session = client._session
        session.timing = replace(session.timing, first_retry=0.01, longest_retry=0.02)
        await client.send(str(bob.jid), "0")
        assert (await anext(messages)).text == "0"
        for number, place in enumerate(PLACES, start=1):
            await until_at_rest(client)
            if place.is_new:
                session.xmpp.resume_id = ""
            proxy.cut()
            proxy.cut_after(place.size_bytes)
            while not client.is_away:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
            await client.queue(str(bob.jid), str(number))
            await until_sent(client)
            assert (await anext(messages)).text == str(number)
        await client.send(str(bob.jid), "the last one")
        assert (await anext(messages)).text == "the last one"


class Place(NamedTuple):
    """Where a login breaks off: so many bytes, both ways, from its beginning."""

    size_bytes: int
    is_new: bool


# Up to where the answers to a new stream end. Each byte by name: XMPP_ONION_FULL=1
STEP = 1 if os.environ.get("XMPP_ONION_FULL") else 311
PLACES = [
    Place(size_bytes, is_new)
    for is_new, end in ((False, 4_000), (True, 9_000))
    for size_bytes in range(1, end, STEP)
]
