"""Whose turn it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from xmpp_onion.bot.lanes import Lanes, Turn


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

    def work(name: str) -> Callable[[Turn], Awaitable[None]]:
        async def do(_: Turn) -> None:
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
    async with asyncio.timeout(60):
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

    async def wait(_: Turn) -> None:
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

    def work(number: int) -> Callable[[Turn], Awaitable[None]]:
        async def do(_: Turn) -> None:
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


async def test_who_steps_aside_lets_another_work_and_waits_for_his_turn() -> None:
    lanes, seen = Lanes(1), []
    answered, gate = asyncio.Event(), asyncio.Event()

    async def ask(turn: Turn) -> None:
        async with turn.aside():
            seen.append("asked")
            await answered.wait()
        seen.append("answered")

    async def work(_: Turn) -> None:
        seen.append("working")
        answered.set()
        await gate.wait()
        seen.append("worked")

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(lanes.run())
        await lanes.add("a", ask)
        await lanes.add("b", work)
        await answered.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert (seen, lanes.running) == (["asked", "working"], 2)
        gate.set()
        await lanes.drained()
        working.cancel()

    assert seen == ["asked", "working", "worked", "answered"]


async def test_what_goes_on_after_a_turn_takes_no_turn() -> None:
    lanes, turns = Lanes(1), []
    done, gate = asyncio.Event(), asyncio.Event()

    async def leave(turn: Turn) -> None:
        turns.append(turn)

    async def work(_: Turn) -> None:
        done.set()
        await gate.wait()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(lanes.run())
        await lanes.add("a", leave)
        await lanes.drained()
        await lanes.add("a", work)
        await done.wait()
        async with turns[0].aside():  # gives back what is another's? It does not.
            await lanes.add("b", leave)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(turns) == 1
        gate.set()
        await lanes.drained()
        working.cancel()


async def test_what_comes_back_after_the_end_of_its_turn_keeps_none() -> None:
    lanes, left = Lanes(1), asyncio.Event()

    async def linger(turn: Turn) -> None:
        async with turn.aside():
            await left.wait()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:

        async def leave(turn: Turn) -> None:
            lingering.append(tasks.create_task(linger(turn)))
            await asyncio.sleep(0)

        async def work(_: Turn) -> None:
            pass

        lingering: list[asyncio.Task[None]] = []
        working = tasks.create_task(lanes.run())
        await lanes.add("a", leave)
        await lanes.drained()
        left.set()
        await lingering[0]
        await lanes.add("a", work)
        await lanes.drained()
        working.cancel()


async def test_who_comes_back_to_one_place_among_few_keeps_nobody_else_waiting() -> (
    None
):
    lanes, places, seen = Lanes(1), asyncio.Semaphore(1), []
    asked, answered = asyncio.Event(), asyncio.Event()

    async def ask(turn: Turn) -> None:
        async with turn.within(places):
            async with turn.aside():
                asked.set()
                await answered.wait()
            seen.append("asked")

    async def work(_: Turn) -> None:
        seen.append("worked")

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(lanes.run())
        await lanes.add("a", ask)
        await asked.wait()
        await places.acquire()  # another one takes the place meanwhile
        answered.set()
        await lanes.add("b", work)
        for _ in range(20):
            await asyncio.sleep(0)
        alone = [*seen]
        places.release()
        await lanes.drained()
        working.cancel()

    assert alone == ["worked"]
    assert seen == ["worked", "asked"]
    assert not places.locked()


async def test_a_place_is_free_when_its_handler_ended_beside_what_it_left() -> None:
    lanes, places, left = Lanes(1), asyncio.Semaphore(1), asyncio.Event()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:

        async def linger(turn: Turn) -> None:
            async with turn.aside():
                await left.wait()

        async def leave(turn: Turn) -> None:
            async with turn.within(places):
                lingering.append(tasks.create_task(linger(turn)))
                await asyncio.sleep(0)

        lingering: list[asyncio.Task[None]] = []
        working = tasks.create_task(lanes.run())
        await lanes.add("a", leave)
        await lanes.drained()
        assert not places.locked()
        left.set()
        await lingering[0]
        assert not places.locked()
        working.cancel()


async def test_a_place_that_comes_after_its_handler_ended_is_given_back() -> None:
    slots, places, left = asyncio.Semaphore(1), asyncio.Semaphore(1), asyncio.Event()
    turn = Turn(slots)

    async def linger() -> None:
        async with turn.aside():
            await left.wait()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        await slots.acquire()
        async with turn.within(places):
            lingering = tasks.create_task(linger())
            await asyncio.sleep(0)
            await places.acquire()
            left.set()
            await asyncio.sleep(0)
        turn.end()
        places.release()
        await lingering

    assert (places.locked(), slots.locked()) == (False, False)
