import asyncio
from collections.abc import AsyncIterator

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import BootstrapError
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.transport import Isolation, Purpose, Tor

ONION = OnionAddress.from_public_key(bytes(32))
ALICE = Isolation("alice", Purpose.XMPP)


def phase(percent: int, summary: str, more: str = "") -> tuple[str, ...]:
    words = f'TAG=x SUMMARY="{summary}"{more}'
    value = f"NOTICE BOOTSTRAP PROGRESS={percent} {words}"
    return f"250-status/bootstrap-phase={value}", "250 OK"


async def _all(progress: AsyncIterator[tuple[int, str]]) -> list[tuple[int, str]]:
    return [step async for step in progress]


async def test_a_tor_without_control_port_is_ready_when_it_answers() -> None:
    async with FakeSocks() as proxy, Tor.attach(proxy.socks) as tor:
        assert await _all(tor.bootstrap()) == [(100, "attached")]


async def test_bootstrap_only_grows_and_ends_at_100() -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        seen = []
        fake.answers["GETINFO"] = phase(5, "Connecting to a relay")
        async for step in tor.bootstrap():
            seen.append(step)
            if step[0] == 5:
                fake.answers["GETINFO"] = phase(50, 'Loading \\"it\\"')
            elif step[0] == 50:
                fake.answers["GETINFO"] = phase(3, "fell back")
                asyncio.get_running_loop().call_later(
                    0.5, fake.answers.update, {"GETINFO": phase(100, "Done")}
                )

    assert seen == [
        (5, "Connecting to a relay"),
        (50, 'Loading \\"it\\"'),
        (100, "Done"),
    ]


async def test_a_stuck_bootstrap_tells_where_and_why() -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = phase(
            50, "Loading relay descriptors", ' WARNING="Connection refused"'
        )
        with pytest.raises(BootstrapError) as caught:
            await _all(tor.bootstrap(patience=0.3))

    assert caught.value.percent == 50
    assert "Loading relay descriptors, Connection refused" in caught.value.why
    assert "bridge" in caught.value.fix


async def test_a_tor_that_ends_on_the_way_is_a_bootstrap_error() -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = phase(30, "Loading")
        progress = tor.bootstrap()
        assert await anext(progress) == (30, "Loading")
        fake.answers["PROTOCOLINFO"] = ("HTTP/1.1 400 Bad Request",)
        fake.hang_up()

        with pytest.raises(BootstrapError) as caught:
            await _all(progress)

    assert caught.value.percent == 30


async def test_a_dial_waits_for_the_network() -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
        asyncio.TaskGroup() as tasks,
    ):
        probes = proxy.connections
        fake.answers["GETINFO"] = phase(90, "Handshake")
        dialing = [
            tasks.create_task(tor.dial(ONION, 5222, isolation=ALICE)) for _ in range(3)
        ]
        await asyncio.sleep(0.3)
        assert proxy.connections == probes
        fake.answers["GETINFO"] = phase(100, "Done")
        for task in dialing:
            (await task).close()

        assert proxy.connections == probes + 3
