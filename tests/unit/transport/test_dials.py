import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import TorNotRunningError
from xmpp_onion.testing.fake_socks import Act, FakeSocks
from xmpp_onion.transport import Isolation, Purpose, Tor
from xmpp_onion.transport.dials import Dials

Leftovers = Callable[..., Awaitable[tuple[int, int]]]

ONION = OnionAddress.from_public_key(bytes(32))
ALICE = Isolation("alice", Purpose.XMPP)


async def _error_of(awaitable: Awaitable[object]) -> BaseException | None:
    try:
        await awaitable
    except TorNotRunningError as error:
        return error
    return None


async def _run(dials: Dials, work: Awaitable[object]) -> None:
    async with dials.one():
        await work


async def test_there_are_no_threads_before_they_are_opened() -> None:
    with pytest.raises(TorNotRunningError, match="async with"):
        async with Dials().one():
            pass


async def test_a_dial_runs_in_a_thread_with_a_name_of_its_own() -> None:
    dials = Dials()
    dials.open()
    async with dials.one() as pool:
        loop = asyncio.get_running_loop()
        name = await loop.run_in_executor(pool, lambda: threading.current_thread().name)
    await dials.end()
    dials.shut()

    assert name.startswith("tor-dial")


async def test_the_end_ends_all_and_waits_for_each() -> None:
    dials, cleaned = Dials(), []

    async def wait_and_clean(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what a dial lets go of may take a moment
            cleaned.append(number)

    dials.open()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_error_of(_run(dials, wait_and_clean(number))))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        await dials.end()
        assert sorted(cleaned) == [0, 1, 2]
        errors = [await task for task in running]
    dials.shut()

    assert [type(error) for error in errors] == [TorNotRunningError] * 3


async def test_leaving_the_block_ends_dials_and_threads(leftovers: Leftovers) -> None:
    async def dial(tor: Tor) -> socket.socket:
        return await tor.dial(ONION, 1, isolation=ALICE)

    async with FakeSocks(act=Act.SILENT) as proxy, asyncio.TaskGroup() as tasks:
        async with Tor.attach(proxy.socks) as tor:
            dialing = [tasks.create_task(_error_of(dial(tor))) for _ in range(3)]
            await proxy.waiting()
        assert (await leftovers(sockets=99))[1] == 0
        errors = [await task for task in dialing]

    assert [type(error) for error in errors] == [TorNotRunningError] * 3
    assert await leftovers() == (0, 0)
