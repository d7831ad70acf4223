"""When the next object is asked for: times are arguments."""

import pytest

from xmpp_onion.files.tempo import Tempo

MEGABYTE = 1_000_000


def after(seconds: float, rate: int, latency: float = 0.5) -> Tempo:
    """Return what is known of a wire whose first answer began so long ago, at zero."""
    tempo = Tempo()
    tempo.asked(-latency)
    tempo.answered(0.0)
    tempo.came(round(seconds * rate))
    return tempo


def test_nothing_is_known_before_an_answer_began() -> None:
    tempo = Tempo()
    assert not tempo.is_time(0, 100.0)

    tempo.asked(0.0)
    tempo.came(MEGABYTE)

    assert not tempo.is_time(0, 100.0)


def test_what_a_first_burst_promises_is_not_believed() -> None:
    tempo = after(0.001, 1000 * MEGABYTE)

    assert not tempo.is_time(MEGABYTE, 0.001)


@pytest.mark.parametrize("rate", [100_000, MEGABYTE, 8 * MEGABYTE])
@pytest.mark.parametrize("latency", [0.05, 0.5, 2.0])
def test_it_is_time_two_round_trips_before_the_way_would_stand_empty(
    rate: int, latency: float
) -> None:
    tempo = after(10.0, rate, latency)

    assert tempo.is_time(round(1.9 * latency * rate), 10.0)
    assert not tempo.is_time(round(2.1 * latency * rate), 10.0)


def test_a_question_behind_another_says_nothing_of_the_way() -> None:
    tempo = after(10.0, MEGABYTE)
    left = 2 * MEGABYTE

    tempo.answered(10.0)  # the one that was asked for ahead waited for its turn

    assert not tempo.is_time(left, 10.0)
