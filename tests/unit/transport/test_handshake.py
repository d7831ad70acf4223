"""What is said with a dial: it goes out with the request, whatever Tor answers."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import DialError, DialTimeoutError, TorNotRunningError
from xmpp_onion.testing.fake_socks import Act, FakeSocks
from xmpp_onion.transport.dial import Isolation, Purpose, dial

ONION = OnionAddress.from_public_key(bytes(32))
ALICE = Isolation(f"alice@{ONION}", Purpose.XMPP)
REPLIES = [*range(0x01, 0x09), *range(0xF0, 0xF8)]

Leftovers = Callable[[], Awaitable[tuple[int, int]]]


async def talk(proxy: FakeSocks, pool: Executor, *, timeout: float = 5.0) -> bytes:
    """Say hello with the dial and more behind it; return what the echo says."""
    sock = await dial(
        ONION,
        5222,
        socks=proxy.socks,
        isolation=ALICE,
        pool=pool,
        timeout=timeout,
        first=b"hello",
    )
    with sock:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b", world")
        heard = b""
        while len(heard) < len(b"hello, world"):
            heard += await loop.sock_recv(sock, 100)
        return heard


async def test_what_is_said_first_goes_out_before_tor_has_answered(
    pool: Executor,
) -> None:
    async with FakeSocks(act=Act.SILENT) as proxy, asyncio.TaskGroup() as tasks:
        dialing = tasks.create_task(talk(proxy, pool, timeout=60))
        await proxy.waiting()
        async with asyncio.timeout(60):
            while proxy.early != b"hello":  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.001)
        assert not dialing.done()
        dialing.cancel()


@pytest.mark.parametrize("act", [Act.ANSWER, Act.BYTEWISE, Act.DRIP])
async def test_not_one_byte_of_the_service_is_taken_for_tors(
    act: Act, pool: Executor
) -> None:
    async with FakeSocks(act=act) as proxy:
        assert await talk(proxy, pool) == b"hello, world"

    assert proxy.asked == [(str(ONION), 5222, *ALICE.credentials())]


@pytest.mark.parametrize("reply", REPLIES)
async def test_a_refused_dial_carries_the_reply_code(
    reply: int, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(reply) as proxy:
        with pytest.raises(DialError) as caught:
            await talk(proxy, pool)

    assert caught.value.reply == reply
    assert await leftovers() == (0, 0)


@pytest.mark.parametrize("act", [Act.SILENT, Act.MUTE, Act.DRIP])
async def test_one_time_limit_holds_over_everything(
    act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(act=act, pause=0.01) as proxy:
        with pytest.raises(DialTimeoutError):
            await talk(proxy, pool, timeout=0.3)

    assert await leftovers() == (0, 0)


@pytest.mark.parametrize("act", [Act.CLOSE, Act.CLOSE_HALFWAY, Act.HANG_UP])
async def test_an_early_end_may_be_tried_again(
    act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(act=act) as proxy:
        with pytest.raises(DialError, match="closed the connection") as caught:
            await talk(proxy, pool)

    assert caught.value.can_retry
    assert await leftovers() == (0, 0)


@pytest.mark.parametrize(
    "act", [Act.GARBAGE, Act.NO_METHOD, Act.WRONG_PASSWORD, Act.OPEN]
)
async def test_what_is_not_tor_is_told_nothing(
    act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    # OPEN would put all accounts on one circuit.
    async with FakeSocks(act=act) as proxy:
        with pytest.raises(TorNotRunningError, match="is not Tor"):
            await talk(proxy, pool)

    assert proxy.asked == []
    assert await leftovers() == (0, 0)


async def test_a_dead_port_says_that_tor_is_not_running(
    pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks() as proxy:
        gone = proxy.socks

    with pytest.raises(TorNotRunningError, match="systemctl start tor"):
        await dial(ONION, 1, socks=gone, isolation=ALICE, pool=pool, first=b"hello")
    assert await leftovers() == (0, 0)


@pytest.mark.parametrize("turns", range(8))
async def test_a_dial_may_be_cancelled_at_any_moment(
    turns: int, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(act=Act.SILENT) as proxy, asyncio.TaskGroup() as tasks:
        dialing = tasks.create_task(talk(proxy, pool, timeout=60))
        for _ in range(turns):
            await asyncio.sleep(0)
        dialing.cancel()

    assert dialing.cancelled()
    assert await leftovers() == (0, 0)
