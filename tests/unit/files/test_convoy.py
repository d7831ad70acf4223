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
    window, size = Window(100), 100
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


async def test_one_that_gave_up_holds_nobody_up() -> None:
    window = Window(100)
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
