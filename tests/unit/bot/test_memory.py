"""What a bot remembers."""

import pytest

from xmpp_onion.bot import Bot, Context
from xmpp_onion.bot.memory import Memory
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer
from xmpp_onion.testing.fake_line import FakeNotes


async def test_values_come_back_by_their_names() -> None:
    notes = FakeNotes()
    memory, other = Memory(notes, "a:"), Memory(notes, "b:")

    await memory.set("votes", {"yes": [1, 2], "no": None})
    await memory.set("votes-old", "ß")
    assert await memory.get("votes") == {"yes": [1, 2], "no": None}
    assert await memory.keys("votes") == ["votes", "votes-old"]
    assert await other.get("votes", 7) == 7
    await memory.delete("votes")
    await memory.delete("votes")
    assert await memory.keys() == ["votes-old"]


async def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        await Memory(FakeNotes(), "").set("a", object())


async def test_a_bot_counts_over_a_restart() -> None:
    bot = Bot("counter", trust=Trust.PINNED)

    @bot.command
    async def count(ctx: Context) -> str:
        number = await ctx.bot.state.get("number", 0)
        assert isinstance(number, int)
        await ctx.bot.state.set("number", number + 1)
        return str(number + 1)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!count")
        await server.restart()
        await alice.send("!count")
        assert alice.inbox == ["1", "2"]
    with pytest.raises(RuntimeError, match="not running"):
        _ = bot.state
