"""``!form``: a command that is filled in by talking."""

from datetime import timedelta
from typing import Literal

import pytest

from xmpp_onion.bot import Bot, Context, role
from xmpp_onion.e2ee import Trust
from xmpp_onion.session.client_xmpp import OnionClient
from xmpp_onion.testing import FakeServer

DONE: list[tuple[object, ...]] = []


@pytest.fixture
def bot() -> Bot:
    bot = Bot("test", trust=Trust.PINNED, roles={"admin": set()})
    DONE.clear()

    @bot.command
    async def mute(
        level: Literal["low", "high"],
        for_: timedelta = timedelta(hours=1),
        *,
        why: str = "",
    ) -> str:
        DONE.append((level, for_, why))
        return "muted"

    @bot.command(when=role("admin"))
    async def stop() -> str:
        return "stopped"

    return bot


async def test_each_parameter_is_asked_for(bot: Bot) -> None:
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!form mute")
        assert alice.last == "level (low, high)? . ends this."
        await alice.send("HIGH")
        assert alice.last == "for? - leaves it out; . ends this."
        await alice.send("2h")
        await alice.send("disk  swap, twice")
        assert alice.last == "muted"
    assert [("high", timedelta(hours=2), "disk  swap, twice")] == DONE


async def test_what_cannot_be_read_is_asked_for_again(bot: Bot) -> None:
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!form !mute")
        await alice.send("loud")
        assert alice.last == "level must be one of low, high. Once more, please."
        await alice.send("low")
        await alice.send("-")
        await alice.send("-")
        assert alice.last == "muted"
    assert [("low", timedelta(hours=1), "")] == DONE


async def test_it_is_given_up_by_a_word_and_does_nothing(bot: Bot) -> None:
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!form mute")
        await alice.send("low")
        await alice.send(".")
        assert alice.last == "Ended; nothing was done."
        await alice.send("!mute low")
        assert alice.last == "muted"
    assert [("low", timedelta(hours=1), "")] == DONE


@pytest.mark.parametrize("words", ["!form stop", "!form nothing", "!form"])
async def test_a_form_of_what_one_may_not_is_not_there(bot: Bot, words: str) -> None:
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send(words)
        assert alice.last.startswith("I do not know !")


async def test_a_bot_may_have_a_command_called_so() -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.command
    async def form(ctx: Context) -> str:
        return ctx.command

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!form")
        assert alice.last == "form"


def test_no_command_is_offered_in_the_clear() -> None:
    loaded = OnionClient.__init__.__globals__["_PLUGINS"]
    assert "xep_0050" not in dict(loaded)
