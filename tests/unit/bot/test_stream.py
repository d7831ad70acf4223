"""An answer that grows: how often it is edited."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from xmpp_onion.bot import Bot, Context
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer


def streaming(pieces: list[str], pause: float) -> Bot:
    bot = Bot("model", trust=Trust.PINNED, timeout=timedelta(hours=2))

    async def think() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece
            await bot.clock.sleep(pause)

    @bot.message
    async def answer(ctx: Context) -> None:
        delivery = await ctx.stream(think())
        assert (delivery is None) == (not "".join(pieces).strip())

    return bot


async def test_what_comes_at_once_is_one_message_and_one_edit() -> None:
    async with FakeServer(streaming(["a"] * 1000, 0)) as server:
        alice = server.user("alice")
        await alice.send("go")
        assert alice.inbox == ["a" * 1000]
        assert len(server.transcript) == 1 + 2


async def test_a_long_answer_is_edited_seldom_and_ends_whole() -> None:
    async with FakeServer(streaming(["a"] * 3600, 1)) as server:
        alice = server.user("alice")
        await alice.send("go")
        await server.advance("61m")
        assert alice.inbox == ["a" * 3600]
        # Two seconds between edits at first, thirty in the end.
        assert 3600 / 30 < len(server.transcript) < 3600 / 30 + 15


@pytest.mark.parametrize("pieces", [[], ["", " ", "\n"]])
async def test_nothing_is_said_where_nothing_comes(pieces: list[str]) -> None:
    async with FakeServer(streaming(pieces, 0)) as server:
        alice = server.user("alice")
        await alice.send("go")
        assert alice.inbox == []


async def test_what_breaks_off_is_said_and_leaves_what_came() -> None:
    bot = Bot("model", trust=Trust.PINNED)

    async def think() -> AsyncIterator[str]:
        yield "as far as"
        raise ConnectionError

    @bot.message
    async def answer(ctx: Context) -> None:
        await ctx.stream(think())

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("go")
        assert alice.inbox[0] == "as far as"
        assert "did not work" in alice.inbox[1]
