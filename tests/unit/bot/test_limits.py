"""How often."""

from xmpp_onion.bot.limits import Limiter
from xmpp_onion.bot.rates import Rate
from xmpp_onion.testing.fake_clock import FakeClock


def test_what_was_used_comes_back_with_time() -> None:
    clock = FakeClock()
    limiter = Limiter(Rate(2, 60), clock)

    assert [limiter.take("a") for _ in range(3)] == [0.0, 0.0, 30.0]
    assert limiter.take("b") == 0.0
    clock.step(30)
    assert limiter.take("a") == 0.0
    assert limiter.take("a") == 30.0
    clock.step(100_000)
    assert [limiter.take("a") for _ in range(3)] == [0.0, 0.0, 30.0]


def test_a_crowd_takes_no_memory_without_end() -> None:
    limiter = Limiter(Rate(1, 60), FakeClock())
    for number in range(10_500):
        limiter.take(str(number))
    assert len(limiter) == 10_000
