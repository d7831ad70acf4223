"""How often somebody may do something."""

from xmpp_onion.e2ee.quota import Quota


def quota(now: list[float], most: int = 3, every: float = 10.0) -> Quota:
    return Quota(most, every, clock=lambda: now[0])


def test_as_many_as_there_are_at_once_and_then_one_at_a_time() -> None:
    now = [100.0]
    goes = quota(now)

    assert [goes.take("mallory") for _ in range(5)] == [True] * 3 + [False] * 2
    now[0] += 9
    assert not goes.take("mallory")
    now[0] += 1
    assert goes.take("mallory")
    assert not goes.take("mallory")


def test_all_are_there_again_after_a_while_and_no_more() -> None:
    now = [100.0]
    goes = quota(now)
    for _ in range(3):
        goes.take("mallory")

    now[0] += 1000

    assert [goes.take("mallory") for _ in range(4)] == [True] * 3 + [False]


def test_nobody_pays_for_another() -> None:
    goes = quota([100.0], most=1)

    assert goes.take("mallory")
    assert goes.take("alice")


def test_no_more_names_are_remembered_than_there_is_room_for() -> None:
    goes = quota([100.0], most=1)
    for number in range(20_000):
        goes.take(str(number))

    assert len(goes) == 10_000
    assert not goes.take("19999")
