"""What a bot says waits for its turn."""

import asyncio

import pytest

from xmpp_onion.bot import Bot, Context
from xmpp_onion.chat import Affiliation, Message
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer


async def say(bot: Bot, server: FakeServer, *people: str, times: int) -> None:
    """Let the bot say more than it may to each of them, and wait for none of it."""
    for person in people:
        jid = server.user(person).jid
        for number in range(times):
            bot.spawn(_send(bot, jid, str(number)))
    await server.settle()


async def _send(bot: Bot, to: str, text: str) -> None:
    await bot.send(to, text)


async def test_to_each_no_more_than_the_rate_and_in_order() -> None:
    bot = Bot("test", trust=Trust.PINNED, sends_to_each="3/m")
    async with FakeServer(bot) as server:
        alice, bob = server.user("alice"), server.user("bob")
        await say(bot, server, "alice", times=5)
        assert alice.inbox == ["0", "1", "2"]
        await say(bot, server, "bob", times=2)
        assert bob.inbox == ["0", "1"]
        await server.advance("20s")
        assert alice.inbox == ["0", "1", "2", "3"]
        await server.advance("1m")
        assert alice.inbox == ["0", "1", "2", "3", "4"]


async def test_to_all_no_more_than_the_rate() -> None:
    bot = Bot("test", trust=Trust.PINNED, sends="4/m")
    async with FakeServer(bot) as server:
        people = [server.user(name) for name in ("alice", "bob", "carol")]
        await say(bot, server, "alice", "bob", "carol", times=2)
        assert sum(len(each.inbox) for each in people) == 4
        await server.advance("30s")
        assert sum(len(each.inbox) for each in people) == 6


async def test_what_is_said_through_a_room_or_a_message_waits_as_well() -> None:
    bot = Bot("test", trust=Trust.PINNED, sends_to_each="1/h")

    @bot.message
    async def speak(ctx: Context, msg: Message) -> None:
        if ctx.room is not None:
            await ctx.room.send("to all")
            await ctx.room.send("and again")
        await msg.reply("to you")
        await msg.reply("again")

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        sending = asyncio.gather(alice.send("hi"), alice.send("hi", room=friends))
        await server.settle()
        assert sorted(alice.inbox) == ["to all", "to you"]
        await server.advance("1h")
        assert sorted(alice.inbox) == ["again", "and again", "to all", "to you"]
        sending.cancel()


async def test_an_answer_waits_as_well_and_is_not_dropped() -> None:
    bot = Bot("test", trust=Trust.PINNED, sends_to_each="1/m")

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        sending = asyncio.gather(alice.send("a"), alice.send("b"))
        await server.settle()
        assert alice.inbox == ["a"]
        await server.advance("1m")
        await sending
        assert alice.inbox == ["a", "b"]


@pytest.mark.parametrize("rate", ["", "0/m", "fast"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        Bot("test", trust=Trust.PINNED, sends=rate)
