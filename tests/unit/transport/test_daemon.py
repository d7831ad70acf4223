import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xmpp_onion.errors import ControlPortError, TorNotRunningError
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.testing.fake_socks import FakeSocks
from xmpp_onion.transport.attach import attached
from xmpp_onion.transport.daemon import Daemon
from xmpp_onion.transport.dial import Endpoint
from xmpp_onion.transport.link import Link


def attach(proxy: FakeSocks, fake: FakeControl | None = None) -> Daemon:
    control = fake.place if fake else None
    return Daemon(lambda pool: attached(proxy.socks, control, password=None, pool=pool))


class Children:
    """Starts children that answer nothing, each at another port."""

    def __init__(self, folder: Path) -> None:
        self.open: list[int] = []
        self._log_file = folder / "tor.log"
        self._log_file.write_text("[err] no space left\n")
        self._ports = iter(range(9001, 9100))

    @asynccontextmanager
    async def start(self, _pool: Executor) -> AsyncIterator[Link]:
        process = await asyncio.create_subprocess_exec("sleep", "60")
        assert not self.open, "the one before was not let go"
        port = next(self._ports)
        self.open.append(port)
        try:
            yield Link(
                Endpoint("127.0.0.1", port), process=process, log_file=self._log_file
            )
        finally:
            self.open.remove(port)
            if process.returncode is None:
                process.kill()
            await process.wait()


async def kill(daemon: Daemon) -> None:
    process = daemon.link.process
    assert process
    process.kill()
    await process.wait()


async def test_what_is_not_open_cannot_be_used(pool: Executor) -> None:
    async with FakeSocks() as proxy:
        daemon = attach(proxy)
        with pytest.raises(TorNotRunningError, match="async with"):
            await daemon.revive()
        await daemon.open(pool)
        assert daemon.is_open
        assert daemon.is_ready  # it has no control port, so nobody could ask
        daemon.forget()
        await daemon.close()

        with pytest.raises(TorNotRunningError, match="async with"):
            await daemon.control()


async def test_a_control_port_that_came_back_is_used_and_asked_anew(
    pool: Executor,
) -> None:
    async with FakeSocks() as proxy, FakeControl() as fake:
        daemon = attach(proxy, fake)
        await daemon.open(pool)
        daemon.is_ready = True
        first = await daemon.control()
        assert await daemon.control() is first
        assert daemon.is_ready

        fake.hang_up()
        while not first.has_ended:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        second = await daemon.control()

        assert second is not first
        assert not daemon.is_ready
        await daemon.close()
    assert fake.connections == 2


async def test_without_a_control_port_it_is_told_how_to_get_one(pool: Executor) -> None:
    async with FakeSocks() as proxy:
        daemon = attach(proxy)
        await daemon.open(pool)
        with pytest.raises(ControlPortError, match="ControlPort 9051"):
            await daemon.control()
        await daemon.close()


async def test_a_child_that_died_is_started_again_and_one_that_lives_is_not(
    pool: Executor, tmp_path: Path
) -> None:
    children = Children(tmp_path)
    daemon = Daemon(children.start)
    await daemon.open(pool)
    first = daemon.link.socks
    await daemon.revive()
    assert daemon.link.socks == first

    async with asyncio.TaskGroup() as tasks:
        elsewhere = tasks.create_task(daemon.socks_elsewhere(first))
        await kill(daemon)
        for _ in range(3):  # who finds it dead at the same time starts one
            tasks.create_task(daemon.revive())
    assert await elsewhere == daemon.link.socks != first
    assert children.open == [9002]
    await daemon.close()
    assert children.open == []


async def test_a_start_that_fails_is_tried_again(
    pool: Executor, tmp_path: Path
) -> None:
    children = Children(tmp_path)
    refused = False

    @asynccontextmanager
    async def start(threads: Executor) -> AsyncIterator[Link]:
        if refused:
            raise TorNotRunningError("no", why="no", fix="no")
        async with children.start(threads) as link:
            yield link

    daemon = Daemon(start)
    await daemon.open(pool)
    await kill(daemon)
    refused = True
    with pytest.raises(TorNotRunningError):
        await daemon.revive()
    assert daemon.is_open

    refused = False
    await daemon.revive()

    assert not daemon.link.has_ended
    await daemon.close()


async def test_a_child_that_died_has_last_words(pool: Executor, tmp_path: Path) -> None:
    daemon = Daemon(Children(tmp_path).start)
    await daemon.open(pool)
    gone = TorNotRunningError("nothing answers", why="refused", fix="start it")
    with pytest.raises(TorNotRunningError) as caught, daemon.with_last_words():
        raise gone
    assert caught.value is gone  # it lives: no words

    await kill(daemon)
    with pytest.raises(TorNotRunningError) as caught, daemon.with_last_words():
        raise gone

    assert caught.value.why == "[err] no space left"
    await daemon.close()
