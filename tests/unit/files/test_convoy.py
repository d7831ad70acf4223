import asyncio
from collections.abc import Callable
from itertools import chain

import pytest

from xmpp_onion.errors import FileError
from xmpp_onion.files.convoy import LANES, Claim, Tally, over_lanes
from xmpp_onion.files.lane import Lane
from xmpp_onion.testing.loopback import LoopbackDialer


def lanes() -> Callable[[], Lane]:
    return lambda: Lane(LoopbackDialer(0), "alice")


async def test_every_chunk_is_carried_once_and_each_lane_helps() -> None:
    carried: list[int] = []
    used: set[int] = set()

    async def carry(lane: Lane, number: int, _claim: Claim) -> None:
        used.add(id(lane))
        await asyncio.sleep(0)
        carried.append(number)

    await over_lanes(lanes(), range(50), carry)

    assert sorted(carried) == list(range(50))
    assert len(used) == LANES


async def test_what_is_claimed_is_carried_next_by_the_same_lane_and_nobody_else() -> (
    None
):
    carried: dict[int, list[int]] = {}
    claimed: dict[int, list[int]] = {}

    async def carry(lane: Lane, number: int, claim: Claim) -> None:
        carried.setdefault(id(lane), []).append(number)
        if number % 5 == 0:
            more = [claim(), claim()]
            claimed.setdefault(id(lane), []).extend(n for n in more if n is not None)
        await asyncio.sleep(0)

    await over_lanes(lanes(), range(50), carry)

    assert sorted(chain(*carried.values())) == list(range(50))
    assert len(carried) == LANES
    for lane, numbers in claimed.items():
        assert [n for n in carried[lane] if n in numbers] == numbers


async def test_the_first_failure_ends_all_of_it_as_one_error() -> None:
    carried: list[int] = []

    async def carry(_lane: Lane, number: int, _claim: Claim) -> None:
        if number == 5:
            raise FileError("gone")
        await asyncio.sleep(0)
        carried.append(number)

    with pytest.raises(FileError, match="gone"):
        await over_lanes(lanes(), range(50), carry)

    assert len(carried) < 10


def test_what_is_under_way_counts_and_what_broke_is_taken_back() -> None:
    told: list[tuple[int, int]] = []
    tally = Tally(lambda done, total: told.append((done, total)), 100, 20)

    tally.part(1, 30)
    tally.part(2, 10)
    tally.part(1, 0)
    tally.finish(2, 40)

    assert told == [(50, 100), (60, 100), (30, 100), (60, 100)]
