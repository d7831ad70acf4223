import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    AddressError,
    ControlPortError,
    DialError,
    DialTimeoutError,
    TorNotRunningError,
)
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.testing.fake_socks import Act, FakeSocks
from xmpp_onion.transport import Isolation, Purpose, Tor, create_key

Leftovers = Callable[[], Awaitable[tuple[int, int]]]

ONION = OnionAddress.from_public_key(bytes(32))
ALICE = Isolation("alice", Purpose.XMPP)
READY = ("250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done", "250 OK")


async def test_a_tor_without_control_port_dials(leftovers: Leftovers) -> None:
    async with FakeSocks() as proxy, Tor.attach(str(proxy.socks)) as tor:
        sock = await tor.dial(ONION, 5222, isolation=ALICE)
        sock.close()

        assert tor.socks == proxy.socks
        assert not tor.has_control
    assert proxy.asked[0].host == ONION
    assert await leftovers() == (0, 0)


def test_a_misspelt_place_is_refused_before_anything_is_tried() -> None:
    with pytest.raises(AddressError):
        Tor.attach("tor.example:9050")


async def test_a_tor_that_is_not_entered_says_so() -> None:
    tor = Tor.attach("127.0.0.1:1")

    with pytest.raises(TorNotRunningError, match="async with"):
        await tor.dial(ONION, 5222, isolation=ALICE)


async def test_publishing_without_control_port_says_how_to_get_one(
    tmp_path: Path,
) -> None:
    create_key(tmp_path / "key")
    async with FakeSocks() as proxy, Tor.attach(proxy.socks) as tor:
        with pytest.raises(ControlPortError, match="ControlPort 9051"):
            tor.onion_service(tmp_path / "key", {5222: 5222})
        with pytest.raises(ControlPortError):
            await tor.new_identity()


async def test_publishing_without_the_cookie_says_how_to_get_access(
    tmp_path: Path,
) -> None:
    create_key(tmp_path / "key")
    async with (
        FakeSocks() as proxy,
        FakeControl("SAFECOOKIE", "/nonexistent/cookie") as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        with pytest.raises(ControlPortError, match="adduser"):
            tor.onion_service(tmp_path / "key", {5222: 5222})


async def test_a_new_identity_is_asked_of_tor() -> None:
    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, str(fake.place)) as tor,
    ):
        await tor.new_identity()

    assert fake.asked[-1] == "SIGNAL NEWNYM"


# --- the end ------------------------------------------------------------------------


async def test_a_tor_that_is_killed_is_not_running_any_more() -> None:
    async with FakeSocks() as proxy, Tor.attach(proxy.socks) as tor:
        proxy._entered().close()

        with pytest.raises(TorNotRunningError):
            await tor.dial(ONION, 5222, isolation=ALICE)


async def test_a_tor_that_is_killed_during_a_dial_is_not_running_any_more() -> None:
    async with (
        FakeSocks(act=Act.SILENT) as proxy,
        Tor.attach(proxy.socks) as tor,
        asyncio.TaskGroup() as tasks,
    ):
        dialing = tasks.create_task(_error_of(tor.dial(ONION, 1, isolation=ALICE)))
        await proxy.waiting()
        proxy._entered().close()
        for writer in proxy._writers:
            writer.transport.abort()

        assert type(await dialing) is TorNotRunningError


async def test_a_cut_connection_to_a_living_tor_is_a_dial_error() -> None:
    async with FakeSocks(act=Act.CLOSE) as proxy, Tor.attach(proxy.socks) as tor:
        error = await _error_of(tor.dial(ONION, 5222, isolation=ALICE))

    assert type(error) is DialError
    assert error.can_retry


async def test_a_time_limit_stays_a_time_limit() -> None:
    async with FakeSocks(act=Act.SILENT) as proxy, Tor.attach(proxy.socks) as tor:
        error = await _error_of(tor.dial(ONION, 1, isolation=ALICE, timeout=0.1))

    assert type(error) is DialTimeoutError


async def test_a_tor_that_hangs_is_not_running_any_more() -> None:
    async with FakeSocks() as proxy, Tor.attach(proxy.socks) as tor:
        proxy.act = Act.MUTE
        error = await _error_of(tor.dial(ONION, 1, isolation=ALICE, timeout=0.1))

    assert type(error) is TorNotRunningError


async def test_after_a_dial_without_answer_tor_forgets_what_it_knew() -> None:
    async with (
        FakeSocks(act=Act.SILENT) as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = READY
        error = await _error_of(tor.dial(ONION, 1, isolation=ALICE, timeout=0.1))

    assert type(error) is DialTimeoutError
    assert fake.asked[-1] == "SIGNAL NEWNYM"


@pytest.mark.parametrize("reply", [0x04, 0xF0, 0xF2])
async def test_a_service_that_tor_takes_for_gone_is_looked_up_anew(reply: int) -> None:
    async with (
        FakeSocks(reply=reply) as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = READY
        for _ in range(2):
            error = await _error_of(tor.dial(ONION, 1, isolation=ALICE))
            assert isinstance(error, DialError)
            assert error.reply == reply

    # Others may use this Tor, so it is not told with every dial.
    assert fake.asked.count("SIGNAL NEWNYM") == 1


async def test_a_port_that_is_closed_is_no_reason_to_forget_anything() -> None:
    async with (
        FakeSocks(reply=0x05) as proxy,
        FakeControl() as fake,
        Tor.attach(proxy.socks, fake.place) as tor,
    ):
        fake.answers["GETINFO"] = READY
        await _error_of(tor.dial(ONION, 1, isolation=ALICE))

    assert "SIGNAL NEWNYM" not in fake.asked


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
async def test_entering_may_be_cancelled_at_any_moment(
    turns: int, leftovers: Leftovers
) -> None:
    async def enter() -> None:
        async with Tor.attach(proxy.socks, fake.place):
            await asyncio.sleep(60)

    async with (
        FakeSocks() as proxy,
        FakeControl() as fake,
        asyncio.TaskGroup() as tasks,
    ):
        entering = tasks.create_task(enter())
        for _ in range(turns):
            await asyncio.sleep(0.001)
        entering.cancel()

    assert entering.cancelled()
    assert await leftovers() == (0, 0)


async def _error_of(awaitable: Awaitable[socket.socket]) -> BaseException | None:
    try:
        (await awaitable).close()
    except (DialError, TorNotRunningError) as error:
        return error
    return None


async def test_the_bounds_of_the_clock_are_those_of_the_consensus() -> None:
    async with FakeSocks() as proxy, FakeControl() as fake:
        async with Tor.attach(proxy.socks, fake.place) as tor:
            fake.answers["GETINFO"] = (
                "250-consensus/valid-after=2026-11-26 00:00:00",
                "250-consensus/valid-until=2026-11-26 03:00:00",
                "250 OK",
            )
            bounds = await tor.clock_bounds()
            fake.answers["GETINFO"] = (
                "250-consensus/valid-after=",
                "250-consensus/valid-until=",
                "250 OK",
            )
            before_it_has_one = await tor.clock_bounds()
        async with Tor.attach(proxy.socks) as tor:
            without_control = await tor.clock_bounds()

    assert bounds == (
        datetime(2026, 11, 26, tzinfo=UTC),
        datetime(2026, 11, 26, 3, tzinfo=UTC),
    )
    assert before_it_has_one is None
    assert without_control is None
