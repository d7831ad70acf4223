import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
import socks as pysocks

from xmpp_onion.testing.fake_socks import FakeSocks


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def _connect(
    place: tuple[str, int], host: str, user: str | None, password: str | None
) -> None:
    with pysocks.socksocket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.set_proxy(
            pysocks.SOCKS5, *place, rdns=True, username=user, password=password
        )
        sock.connect((host, 5222), catch_errors=True)


@pytest.mark.parametrize(
    ("host", "user", "password", "mistake"),
    [
        ("127.0.0.1", "user", "password", "resolved outside"),
        ("name.onion", None, None, "no credentials"),
        ("name.onion", "user", "", "no credentials"),
    ],
)
async def test_a_client_that_would_betray_its_user_is_caught(
    host: str, user: str | None, password: str | None, mistake: str, pool: Executor
) -> None:
    loop = asyncio.get_running_loop()
    proxy = await FakeSocks().__aenter__()
    asking = loop.run_in_executor(pool, _connect, proxy.socks, host, user, password)
    await asyncio.wait([asking])

    with pytest.raises(AssertionError, match=mistake):
        await proxy.__aexit__(None, None, None)
    await asyncio.gather(asking, return_exceptions=True)


async def test_a_client_that_does_well_is_left_alone(pool: Executor) -> None:
    loop = asyncio.get_running_loop()
    async with FakeSocks() as proxy:
        place = proxy.socks
        await loop.run_in_executor(pool, _connect, place, "name.onion", "u", "p")

    assert proxy.asked == [("name.onion", 5222, "u", "p")]


def test_it_has_to_be_entered() -> None:
    with pytest.raises(RuntimeError, match="enter it first"):
        _ = FakeSocks().socks
