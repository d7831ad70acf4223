"""Tests of bots get their server from pytest."""

from collections.abc import Callable

from xmpp_onion.bot import Bot
from xmpp_onion.chat import Message
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer
from xmpp_onion.testing.plugin import xmpp_server  # noqa: F401 - pytest finds it here


async def test_the_server_is_a_fixture(
    xmpp_server: Callable[[Bot], FakeServer],  # noqa: F811 - pytest gives it
) -> None:
    bot = Bot("echo", trust=Trust.PINNED)

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    async with xmpp_server(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last == "hi"
