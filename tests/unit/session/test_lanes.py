"""Whose turn it is, by counts."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.session.lanes import NEAR, Lanes


@dataclass(frozen=True)
class Entry:
    name: str
    size_bytes: int = 1


def make(entries: Iterable[tuple[str, str]]) -> Lanes[Entry]:
    lanes: Lanes[Entry] = Lanes()
    for name, lane in entries:
        lanes.add(Entry(name), lane)
    return lanes


def taken(lanes: Lanes[Entry], count: int = -1) -> list[str]:
    names = []
    while lanes and count != len(names):
        names.append(lanes.take()[0].name)
    return names


def test_a_friend_waits_for_one_stranger_at_most() -> None:
    lanes = make(("stranger", "far") for _ in range(1000))
    lanes.take()

    lanes.add(Entry("friend"), NEAR)

    assert "friend" in taken(lanes, 1)


@pytest.mark.parametrize("crowd", [1, 1000])
def test_a_stranger_waits_for_no_crowd_of_another_server(crowd: int) -> None:
    lanes = make((str(number), "hostile.onion") for number in range(crowd))

    lanes.add(Entry("quiet"), "quiet.onion")

    assert "quiet" in taken(lanes, 2)


def test_friends_who_write_all_the_time_leave_strangers_a_turn() -> None:
    lanes = make([*(("friend", NEAR) for _ in range(100)), ("stranger", "far")])

    assert taken(lanes, 9) == ["friend"] * 8 + ["stranger"]


def test_it_is_known_what_was_overtaken() -> None:
    lanes = make([("a", "far"), ("b", NEAR), ("c", NEAR), ("d", "far")])

    assert [lanes.take() for _ in range(4)] == [
        (Entry("b"), False),
        (Entry("c"), False),
        (Entry("a"), True),
        (Entry("d"), True),
    ]


def test_nothing_overtakes_what_waited_before_a_bar() -> None:
    lanes = make([("a", "far"), ("b", NEAR), ("c", "other"), ("d", "far")])

    lanes.bar()
    lanes.add(Entry("e"), NEAR)

    assert taken(lanes) == list("abcde")


def test_what_is_left_out_is_not_counted() -> None:
    lanes = make([("a", "far"), ("b", NEAR), ("c", "other"), ("d", "far")])

    lanes.keep(lambda entry: entry.name in "bd")

    assert (lanes.near.length, lanes.far.length) == (1, 1)
    assert (lanes.near.size_bytes, lanes.far.size_bytes) == (1, 1)
    assert taken(lanes) == ["b", "d"]


@given(
    st.lists(
        st.sampled_from([NEAR, "a", "b", "c", "take", "take", "bar"]), max_size=200
    )
)
def test_each_lane_keeps_its_order_and_nothing_is_lost(steps: list[str]) -> None:
    lanes: Lanes[Entry] = Lanes()
    put: list[tuple[str, int]] = []
    came: list[tuple[str, int]] = []

    def take() -> None:
        name, _, number = lanes.take()[0].name.partition(" ")
        came.append((name, int(number)))

    for number, step in enumerate(steps):
        if step == "bar":
            lanes.bar()
        elif step != "take":
            put.append((step, number))
            lanes.add(Entry(f"{step} {number}"), step)
        elif lanes:
            take()
        assert len(lanes) == len(put) - len(came)
        assert len(lanes) == len([*lanes])
    while lanes:
        take()

    assert sorted(came) == sorted(put)
    for lane in {lane for lane, _ in put}:
        assert [one for one in came if one[0] == lane] == [
            one for one in put if one[0] == lane
        ]
    assert lanes.near.size_bytes == lanes.far.size_bytes == 0
