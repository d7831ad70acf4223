"""Whose turn it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from xmpp_onion.bot.lanes import Lanes


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    lanes = Lanes(2)
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(lanes.run())
        yield lanes
        working.cancel()


async def test_each_lane_keeps_its_order_and_no_more_work_than_allowed(
    lanes: Lanes,
) -> None:
    done: list[str] = []
    at_work = most = 0

    def work(name: str) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0)
            at_work -= 1
            done.append(name)

        return do

    for number in range(3):
        for lane in "abc":
            await lanes.add(lane, work(f"{lane}{number}"))
    async with asyncio.timeout(10):
        await lanes.drained()

    assert most == 2
    for lane in "abc":
        assert [name for name in done if name[0] == lane] == [
            f"{lane}{number}" for number in range(3)
        ]
    assert done.index("c0") < done.index("a2")  # nobody waits for all of another's


async def test_it_takes_no_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmpp_onion.bot.lanes._WAITING", 3)
    small, gate = Lanes(1), asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(small.run())
        adding = [tasks.create_task(small.add("a", wait)) for _ in range(5)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert [task.done() for task in adding] == [True, True, True, False, False]
        gate.set()
        await small.drained()
        assert all(task.done() for task in adding)
        working.cancel()


async def test_what_works_is_ended_and_what_waits_is_left(lanes: Lanes) -> None:
    done: list[int] = []
    begun, gate = asyncio.Event(), asyncio.Event()

    def work(number: int) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            begun.set()
            await gate.wait()
            done.append(number)

        return do

    for number in range(3):
        await lanes.add("a", work(number))
    await begun.wait()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        ending = tasks.create_task(lanes.finish())
        await asyncio.sleep(0)
        assert not ending.done()
        gate.set()

    assert done == [0]
    assert (lanes.running, lanes.waiting) == (0, 2)
