"""The life of a bot."""

import asyncio

import pytest

from xmpp_onion.bot import Bot
from xmpp_onion.chat import DeliveryFailed, DeliveryState, Message, Receipt
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer


def test_the_policy_has_no_default() -> None:
    with pytest.raises(TypeError, match="trust"):
        Bot("echo")  # type: ignore[call-arg] # that is it


@pytest.mark.parametrize("prefix", ["", " ", "! "])
def test_a_prefix_can_be_typed(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Bot("echo", trust=Trust.PINNED, prefix=prefix)


async def test_hooks_stand_around_all_messages() -> None:
    bot, seen = Bot("test", trust=Trust.PINNED), []

    @bot.startup
    async def begin() -> None:
        seen.append("begin")

    @bot.shutdown
    async def end() -> None:
        seen.append("end")

    @bot.message
    async def listen(msg: Message) -> None:
        seen.append(msg.text)

    async with FakeServer(bot) as server:
        await server.user("alice").send("hi")
    assert seen == ["begin", "hi", "end"]


async def test_what_is_being_handled_is_ended_before_the_bot_is() -> None:
    bot, seen = Bot("test", trust=Trust.PINNED), []
    begun = asyncio.Event()

    @bot.message
    async def listen(msg: Message) -> str:
        begun.set()
        await asyncio.sleep(0.05)
        seen.append(msg.text)
        return "done"

    async with asyncio.TaskGroup() as tasks, FakeServer(bot) as server:
        alice = server.user("alice")
        tasks.create_task(alice.send("hi"))
        await begun.wait()
    assert seen == ["hi"]
    assert alice.last == "done"


async def test_what_a_hook_raises_is_seen() -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.startup
    async def begin() -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        async with FakeServer(bot):
            pass
    assert caught.group_contains(ZeroDivisionError)


async def test_other_events_have_handlers_by_their_kind() -> None:
    bot, seen = Bot("test", trust=Trust.PINNED), []

    @bot.on(DeliveryFailed)
    async def failed(event: DeliveryFailed) -> None:
        seen.append(event.reason)

    async with FakeServer(bot) as server:
        alice, now = server.user("alice").jid, server.clock.now()
        failure = DeliveryFailed(id="1", sender=alice, reason="nobody there", at=now)
        receipt = Receipt(
            id="2",
            sender=alice,
            state=DeliveryState.RECEIVED,
            authenticated=True,
            at=now,
        )
        await server.tell(receipt)
        await server.tell(failure)
    assert seen == ["nobody there"]


async def test_a_bot_that_does_not_run_says_nothing() -> None:
    bot = Bot("test", trust=Trust.PINNED)
    with pytest.raises(RuntimeError, match="not running"):
        await bot.send("alice@x", "hi")
