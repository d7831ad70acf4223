"""What is done by the clock."""

from datetime import UTC, datetime

import pytest

from xmpp_onion.bot import Bot
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer


@pytest.fixture
def bot() -> Bot:
    return Bot("test", trust=Trust.PINNED)


async def test_a_job_is_done_as_often_as_it_says(bot: Bot) -> None:
    done = []

    @bot.job(every="5m")
    async def tick(own: Bot) -> None:
        done.append(own.clock.now())

    async with FakeServer(bot, now=datetime(2026, 1, 1, tzinfo=UTC)) as server:
        await server.advance("4m59s")
        assert done == []
        await server.advance("1s")
        await server.advance("1h")

    assert [time.strftime("%H:%M") for time in done[:3]] == ["00:05", "00:10", "00:15"]
    assert len(done) == 13


async def test_a_job_says_something_to_somebody(bot: Bot) -> None:
    @bot.job(cron="0 9 * * *")
    async def morning(own: Bot) -> None:
        await own.send(server.user("alice").jid, "good morning")

    server = FakeServer(bot, now=datetime(2026, 1, 1, 8, 59, tzinfo=UTC))
    async with server:
        await server.advance("1m")
        assert server.user("alice").inbox == ["good morning"]


async def test_a_job_that_raises_is_done_again(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    done = []

    @bot.job(every="1m")
    async def tick() -> None:
        done.append(1)
        raise ZeroDivisionError

    async with FakeServer(bot) as server:
        await server.advance("3m")
    assert len(done) == 3
    assert "tick failed" in caplog.text


@pytest.mark.parametrize(("misfire", "times"), [("skip", 0), ("run", 1)])
async def test_what_was_due_while_the_bot_was_down_is_skipped_or_done_once(
    misfire: str, times: int
) -> None:
    bot, done = Bot("test", trust=Trust.PINNED), []

    @bot.job(every="1h", misfire=misfire)  # type: ignore[arg-type] # one of the two
    async def tick() -> None:
        done.append(1)

    async with FakeServer(bot) as server:
        await server.advance("1h")
        done.clear()
        await server.restart(away="8h30m")
        assert len(done) == times


async def test_two_jobs_of_one_name_are_refused(bot: Bot) -> None:
    @bot.job(every="1h")
    async def tick() -> None: ...

    with pytest.raises(ValueError, match="there is a job tick"):
        bot.job(every="2h")(tick)
