"""When to try again, and when no more."""

from xmpp_onion.e2ee.patience import Patience


def test_it_waits_twice_as_long_each_time_and_gives_up_in_the_end() -> None:
    now, tried = 0.0, list[float]()
    patience = Patience(30, 100, 5, clock=lambda: now)

    for second in range(1000):
        now = float(second)
        if patience.is_due("x"):
            tried.append(now)
            if not patience.fail("x"):
                break

    assert tried == [0, 30, 90, 190, 290]
    assert len(patience) == 0


def test_nobody_waits_for_another_and_what_is_done_is_forgotten() -> None:
    patience = Patience(30, 100, 5, clock=lambda: 0.0)
    patience.fail("x")

    assert patience.is_due("y")
    assert not patience.is_due("x")
    patience.forget("x")
    assert patience.is_due("x")
