"""How a bot is, in numbers."""

import asyncio
import re

import pytest

from xmpp_onion.bot import Bot, Context
from xmpp_onion.bot.health import exposition
from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.testing import FakeServer


@pytest.fixture
def bot() -> Bot:
    bot = Bot("test", trust=Trust.PINNED, answers="3/m")

    @bot.command
    async def fail() -> None:
        raise ZeroDivisionError

    @bot.command
    async def order(ctx: Context) -> str:
        return str(await ctx.ask("What?"))

    @bot.job(every="5m")
    async def look() -> None: ...

    return bot


async def test_it_counts_what_happens(bot: Bot) -> None:
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await server.user("mallory", trust=TrustLevel.UNDECIDED).send("!help")
        for words in ("!help", "!fail", "!nothing", "!help"):
            await alice.send(words)
        await alice.send("!order")
        health = await bot.health()
        due = (health.jobs["look"] - server.clock.now()).total_seconds()

    counts = health.counts
    assert (counts.heard, counts.ignored, counts.failed) == (5, 1, 1)
    assert (counts.answered, counts.dropped) == (3, 1)
    assert (health.running, health.asking, health.waiting) == (1, 1, 0)
    assert health.is_connected
    assert health.ping is not None
    assert due == 300


async def test_prometheus_can_read_it(bot: Bot) -> None:
    async with FakeServer(bot) as server:
        await server.user("alice").send("!fail")
        text = exposition(await bot.health())

    lines = text.splitlines()
    sample = re.compile(
        r'xmpp_onion_bot_[a-z_]+(\{job="[a-z]+"\})? [0-9.]+(e-?[0-9]+)?'
    )
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
    assert "xmpp_onion_bot_failed_total 1" in lines
    assert "xmpp_onion_bot_connected 1" in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == text.count("# HELP")
    assert "alice" not in text


async def test_one_that_does_not_run_has_no_health(bot: Bot) -> None:
    with pytest.raises(RuntimeError, match="not running"):
        await bot.health()


async def test_a_snapshot_does_not_change(bot: Bot) -> None:
    async with FakeServer(bot) as server:
        before = await bot.health()
        await server.user("alice").send("!help")
        await asyncio.sleep(0)
    assert before.counts.heard == 0
