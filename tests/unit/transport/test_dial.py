import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    AddressError,
    DialError,
    DialTimeoutError,
    InvalidOnionAddressError,
    TorError,
    TorNotRunningError,
)
from xmpp_onion.testing.fake_socks import Act, FakeSocks
from xmpp_onion.transport.dial import (
    Endpoint,
    Isolation,
    Purpose,
    dial,
    probe,
)

ONION = OnionAddress.from_public_key(bytes(32))
ALICE = Isolation(f"alice@{ONION}", Purpose.XMPP)
REPLIES = [*range(0x01, 0x09), *range(0xF0, 0xF8)]

Leftovers = Callable[..., Awaitable[tuple[int, int]]]


async def _dial(proxy: FakeSocks, pool: Executor, *, timeout: float = 5.0) -> bytes:
    """Dial and return what the echo behind the proxy says."""
    sock = await dial(
        ONION, 5222, socks=proxy.socks, isolation=ALICE, pool=pool, timeout=timeout
    )
    with sock:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"hello")
        return await loop.sock_recv(sock, 5)


# --- what goes out ------------------------------------------------------------------


async def test_the_name_arrives_unresolved_with_the_credentials(pool: Executor) -> None:
    async with FakeSocks() as proxy:
        echoed = await _dial(proxy, pool)

    assert echoed == b"hello"
    assert proxy.asked == [(str(ONION), 5222, *ALICE.credentials())]


async def test_a_subdomain_is_kept(pool: Executor) -> None:
    muc = OnionAddress(f"muc.{ONION}")
    async with FakeSocks() as proxy:
        sock = await dial(muc, 1, socks=proxy.socks, isolation=ALICE, pool=pool)
        sock.close()

    assert proxy.asked[0].host == f"muc.{ONION}"


async def test_the_socket_is_a_plain_one_and_does_not_block(pool: Executor) -> None:
    async with FakeSocks() as proxy:
        sock = await dial(ONION, 5222, socks=proxy.socks, isolation=ALICE, pool=pool)
        with sock:
            assert type(sock) is socket.socket
            assert sock.getblocking() is False
            assert sock.getpeername() == proxy.socks


@pytest.mark.parametrize("target", [str(ONION), "example.org", "127.0.0.1", b"x", None])
async def test_only_checked_onion_addresses_are_dialed(
    target: OnionAddress, pool: Executor
) -> None:
    async with FakeSocks() as proxy:
        with pytest.raises(InvalidOnionAddressError, match="only checked onion"):
            await dial(target, 5222, socks=proxy.socks, isolation=ALICE, pool=pool)

    assert proxy.connections == 0


async def test_the_kernel_holds_little_of_a_file_that_seems_sent(
    pool: Executor,
) -> None:
    files = Isolation(f"alice@{ONION}", Purpose.FILES)
    async with FakeSocks() as proxy:
        sock = await dial(ONION, 80, socks=proxy.socks, isolation=files, pool=pool)
        with sock:
            held = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    assert held <= 2 * 128 * 1024  # Linux counts its own part, too: socket(7)


@pytest.mark.parametrize("port", [-1, 0, 65536])
async def test_an_impossible_port_is_refused(port: int, pool: Executor) -> None:
    async with FakeSocks() as proxy:
        with pytest.raises(AddressError, match="is not a port"):
            await dial(ONION, port, socks=proxy.socks, isolation=ALICE, pool=pool)

    assert proxy.connections == 0


# --- isolation ----------------------------------------------------------------------


@given(st.text(), st.sampled_from(Purpose))
def test_credentials_are_never_empty_and_fit(account: str, purpose: Purpose) -> None:
    user, password = Isolation(account, purpose).credentials()

    assert 0 < len(user.encode()) < 128
    assert 0 < len(password.encode()) < 128


@given(st.text(min_size=4))
def test_credentials_do_not_tell_the_account(account: str) -> None:
    assert account not in "".join(Isolation(account, Purpose.XMPP).credentials())


def test_credentials_differ_by_account_and_by_purpose_and_are_stable() -> None:
    every = [Isolation(name, use).credentials() for name in "ab" for use in Purpose]

    assert len(set(every)) == len(every)
    assert Isolation("a", Purpose.XMPP).credentials() == every[0]


def test_another_turn_has_other_credentials() -> None:
    every = [Isolation("a", Purpose.XMPP, turn).credentials() for turn in range(3)]

    assert len(set(every)) == len(every)
    assert Isolation("a", Purpose.XMPP).credentials() == every[0]


# --- what comes back ----------------------------------------------------------------


@pytest.mark.parametrize("act", [Act.ANSWER, Act.BYTEWISE])
@pytest.mark.parametrize("reply", REPLIES)
async def test_a_refused_dial_carries_the_reply_code(
    reply: int, act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(reply, act=act) as proxy:
        with pytest.raises(DialError) as caught:
            await _dial(proxy, pool)

    assert caught.value.reply == reply
    assert await leftovers() == (0, 0)


async def test_an_answer_in_single_bytes_is_put_together(pool: Executor) -> None:
    async with FakeSocks(act=Act.BYTEWISE, pause=0.001) as proxy:
        assert await _dial(proxy, pool) == b"hello"


@pytest.mark.parametrize("act", [Act.SILENT, Act.MUTE, Act.DRIP])
async def test_one_time_limit_holds_over_everything(
    act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    # The drip sends a byte well within any limit for one recv.
    async with FakeSocks(act=act, pause=0.01) as proxy:
        with pytest.raises(DialTimeoutError) as caught:
            await _dial(proxy, pool, timeout=0.3)

    assert caught.value.reply is None
    assert caught.value.can_retry
    assert await leftovers() == (0, 0)


@pytest.mark.parametrize("act", [Act.CLOSE, Act.CLOSE_HALFWAY, Act.HANG_UP])
async def test_an_early_end_may_be_tried_again(
    act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(act=act) as proxy:
        with pytest.raises(DialError, match="closed the connection") as caught:
            await _dial(proxy, pool)

    assert caught.value.reply is None
    assert caught.value.can_retry
    assert await leftovers() == (0, 0)


@pytest.mark.parametrize("act", [Act.GARBAGE, Act.NO_METHOD, Act.WRONG_PASSWORD])
async def test_what_is_not_tor_is_called_so(
    act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(act=act) as proxy:
        with pytest.raises(TorNotRunningError, match="is not Tor"):
            await _dial(proxy, pool)

    assert await leftovers() == (0, 0)


async def test_a_dead_port_says_that_tor_is_not_running(
    pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks() as proxy:
        gone = proxy.socks

    with pytest.raises(TorNotRunningError, match="systemctl start tor"):
        await dial(ONION, 5222, socks=gone, isolation=ALICE, pool=pool)
    assert await leftovers() == (0, 0)


# --- cancellation -------------------------------------------------------------------


@pytest.mark.parametrize("act", [Act.SILENT, Act.MUTE, Act.DRIP])
async def test_a_cancelled_dial_leaves_no_socket_and_no_busy_thread(
    act: Act, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(act=act, pause=0.01) as proxy:
        before, _ = await leftovers(sockets=99)
        async with asyncio.TaskGroup() as tasks:
            dialing = tasks.create_task(_dial(proxy, pool, timeout=60))
            await proxy.waiting()
            dialing.cancel()
        # Still inside: the far end is open, so what is closed was closed here.
        assert dialing.cancelled()
        assert (await leftovers(sockets=99))[1] == 0
        assert (await leftovers(sockets=before + 1))[0] <= before + 1


@pytest.mark.parametrize("turns", range(6))
async def test_a_dial_may_be_cancelled_at_any_moment(
    turns: int, pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks(act=Act.SILENT) as proxy, asyncio.TaskGroup() as tasks:
        dialing = tasks.create_task(_dial(proxy, pool, timeout=60))
        for _ in range(turns):
            await asyncio.sleep(0)
        dialing.cancel()

    assert dialing.cancelled()
    assert await leftovers() == (0, 0)


async def test_a_dial_that_still_waits_for_a_thread_can_be_cancelled(
    leftovers: Leftovers,
) -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="tor-dial") as pool:
        async with FakeSocks(act=Act.SILENT) as proxy, asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_dial(proxy, pool, timeout=60))
            await proxy.waiting()
            second = tasks.create_task(_dial(proxy, pool, timeout=60))
            await asyncio.sleep(0.01)
            second.cancel()
            await asyncio.wait([second])
            assert proxy.connections == 1
            first.cancel()

    assert await leftovers() == (0, 0)


async def test_a_hundred_dials_at_once_all_arrive(
    pool: Executor, leftovers: Leftovers
) -> None:
    async with FakeSocks() as proxy:
        echoes = await asyncio.gather(*(_dial(proxy, pool) for _ in range(100)))

    assert echoes == [b"hello"] * 100
    assert await leftovers() == (0, 0)


# --- probe --------------------------------------------------------------------------


async def test_a_probe_finds_tor_and_asks_for_nothing() -> None:
    async with FakeSocks() as proxy:
        await probe(proxy.socks)

    assert proxy.asked == []


@pytest.mark.parametrize("act", [Act.GARBAGE, Act.NO_METHOD])
async def test_a_probe_tells_what_is_not_tor(act: Act) -> None:
    async with FakeSocks(act=act) as proxy:
        with pytest.raises(TorNotRunningError, match="is not Tor"):
            await probe(proxy.socks)


async def test_a_probe_finds_out_that_credentials_would_be_ignored() -> None:
    async with FakeSocks(act=Act.OPEN) as proxy:
        with pytest.raises(TorError, match="PreferSOCKSNoAuth"):
            await probe(proxy.socks)


async def test_a_probe_gives_up_on_silence(leftovers: Leftovers) -> None:
    async with FakeSocks(act=Act.MUTE) as proxy:
        with pytest.raises(TorNotRunningError):
            await probe(proxy.socks, timeout=0.2)

    assert await leftovers() == (0, 0)


# --- endpoints ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "shown"),
    [
        ("127.0.0.1:9050", "127.0.0.1", "127.0.0.1:9050"),
        (" localhost:9050\n", "127.0.0.1", "127.0.0.1:9050"),
        ("[::1]:9050", "::1", "[::1]:9050"),
        ("10.152.152.10:9050", "10.152.152.10", "10.152.152.10:9050"),
    ],
)
def test_an_endpoint_is_an_ip_address_and_a_port(
    text: str, host: str, shown: str
) -> None:
    endpoint = Endpoint.parse(text)

    assert endpoint == (host, 9050)
    assert str(endpoint) == shown
    assert Endpoint.parse(shown) == endpoint


NO_ENDPOINTS = [
    *("", ":", "9050", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536"),
    *("127.0.0.1:-1", "127.0.0.1:\u0663", "::1:9050x", "http://127.0.0.1:9050"),
    *("tor:9050", "example.org:80"),
]


@pytest.mark.parametrize("text", NO_ENDPOINTS)
def test_an_endpoint_that_would_need_a_resolver_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="where Tor can listen"):
        Endpoint.parse(text)


@given(st.text())
def test_any_text_is_an_endpoint_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(AddressError):
        Endpoint.parse(text)
