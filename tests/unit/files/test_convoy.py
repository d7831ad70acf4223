import asyncio
import contextlib
from collections.abc import Callable
from random import Random  # noqa: TID251 - drawn by Hypothesis

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.errors import FileError
from xmpp_onion.files.convoy import LANES, Tally, Window, over_lanes
from xmpp_onion.files.lane import Lane
from xmpp_onion.testing.loopback import LoopbackDialer


def lanes() -> Callable[[], Lane]:
    return lambda: Lane(LoopbackDialer(0), "alice")


async def test_every_chunk_is_carried_once_and_each_lane_helps() -> None:
    carried: list[int] = []
    used: set[int] = set()

    async def carry(lane: Lane, number: int) -> None:
        used.add(id(lane))
        await asyncio.sleep(0)
        carried.append(number)

    await over_lanes(lanes(), range(50), carry)

    assert sorted(carried) == list(range(50))
    assert len(used) == LANES


async def test_the_first_failure_ends_all_of_it_as_one_error() -> None:
    carried: list[int] = []

    async def carry(_lane: Lane, number: int) -> None:
        if number == 5:
            raise FileError("gone")
        await asyncio.sleep(0)
        carried.append(number)

    with pytest.raises(FileError, match="gone"):
        await over_lanes(lanes(), range(50), carry)

    assert len(carried) < 10


@given(st.integers(1, 6), st.randoms(use_true_random=False))
async def test_never_more_than_two_chunks_are_under_way_and_none_waits_for_ever(
    circuits: int, random: Random
) -> None:
    window, size = Window(100, circuits, 20), 100
    sent: dict[int, int] = {}
    done: list[int] = []

    async def carry(_lane: Lane, number: int) -> None:
        with window.hold(number) as may_send:
            for _ in range(random.choice([1, 1, 2])):  # some break off once
                sent[number] = 0
                for out in range(10, size + 1, 10):
                    await may_send(out)
                    sent[number] = out
                    assert sum(sent.values()) <= 2 * size
                    for _ in range(random.randrange(3)):
                        await asyncio.sleep(0)
            del sent[number]
        done.append(number)

    async with asyncio.timeout(30):
        await over_lanes(lanes(), range(20), carry, count=circuits)

    assert sorted(done) == list(range(20))


@pytest.mark.parametrize("circuits", [1, 2, 3])
async def test_circuits_fall_into_step_and_each_works_nearly_all_the_time(
    circuits: int,
) -> None:
    window, size, chunks = Window(120, circuits, 30), 120, 30
    moved = 0

    async def carry(_lane: Lane, number: int) -> None:
        nonlocal moved
        with window.hold(number) as may_send:
            for out in range(1, size + 1):
                await may_send(out)
                moved += 1
                await turn.wait()

    turn, ticks = Turn(), 0
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(over_lanes(lanes(), range(chunks), carry, count=circuits))
        while moved < chunks * size:
            for _ in range(20):  # until all who may have sent a piece
                await asyncio.sleep(0)
            ticks += 1
            turn.take()
        turn.end()

    assert chunks * size / ticks > circuits * 0.9


class Turn:
    """A clock: in each tick a circuit carries one piece."""

    def __init__(self) -> None:
        self._event, self._over = asyncio.Event(), False

    async def wait(self) -> None:
        if not self._over:
            await self._event.wait()

    def take(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    def end(self) -> None:
        self._over = True
        self._event.set()


async def test_one_that_gave_up_holds_nobody_up() -> None:
    window = Window(100, 3, 3)
    with contextlib.suppress(FileError), window.hold(1) as first:
        await first(100)
        raise FileError("gone")

    async with asyncio.timeout(5):
        with window.hold(2) as second, window.hold(3) as third:
            await second(100)
            await third(100)


def test_what_is_under_way_counts_and_what_broke_is_taken_back() -> None:
    told: list[tuple[int, int]] = []
    tally = Tally(lambda done, total: told.append((done, total)), 100, 20)

    tally.part(1, 30)
    tally.part(2, 10)
    tally.part(1, 0)
    tally.finish(2, 40)

    assert told == [(50, 100), (60, 100), (30, 100), (60, 100)]
