"""Conversations that a restart survives, and questions that it ends."""

import asyncio

import pytest

from xmpp_onion.bot import FSM, Bot, Context, State, StatesGroup
from xmpp_onion.chat import Affiliation, Message
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer


class Order(StatesGroup):
    item = State()
    count = State()


@pytest.fixture
def shop() -> Bot:
    bot = Bot("shop", trust=Trust.PINNED)

    @bot.command
    async def order(fsm: FSM) -> str:
        await fsm.set(Order.item)
        return "what?"

    @bot.message(Order.item)
    async def item(msg: Message, fsm: FSM) -> str:
        await fsm.update(item=msg.text)
        await fsm.set(Order.count)
        return "how many?"

    @bot.message(Order.count)
    async def count(msg: Message, fsm: FSM) -> str:
        data = await fsm.data()
        await fsm.clear()
        return f"{msg.text} x {data['item']}"

    @bot.message
    async def rest() -> str:
        return "say !order"

    return bot


async def test_each_person_has_a_conversation_in_each_place(shop: Bot) -> None:
    async with FakeServer(shop) as server:
        alice, bob = server.user("alice"), server.user("bob")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        await alice.send("!order")
        await bob.send("tea")
        await alice.send("tea", room=friends)
        assert (alice.last, bob.last) == ("say !order", "say !order")
        await alice.send("tea")
        await alice.send("3")
        assert alice.inbox[-2:] == ["how many?", "3 x tea"]
        await alice.send("3")
        assert alice.last == "say !order"


async def test_a_restart_does_not_end_a_conversation(shop: Bot) -> None:
    async with FakeServer(shop) as server:
        alice = server.user("alice")
        await alice.send("!order")
        await server.restart()
        await alice.send("tea")
        assert alice.last == "how many?"


async def test_a_conversation_without_states_is_refused() -> None:
    with pytest.raises(TypeError, match="has no states"):

        class Nothing(StatesGroup):
            pass


# --- questions -----------------------------------------------------------------------


@pytest.fixture
def asker() -> Bot:
    bot = Bot("asker", trust=Trust.PINNED)

    @bot.command
    async def age(ctx: Context) -> str:
        years = await ctx.ask("How old are you?", int, timeout="5m")
        return f"You will be {years + 1}."  # type: ignore[operator] # an int

    @bot.message
    async def rest(msg: Message) -> str:
        return f"heard {msg.text}"

    return bot


async def test_the_next_message_in_that_place_is_the_answer(asker: Bot) -> None:
    async with FakeServer(asker) as server:
        alice, bob = server.user("alice"), server.user("bob")
        await alice.send("!age")
        assert alice.last == "How old are you?"
        await bob.send("7")
        assert bob.last == "heard 7"
        await alice.send("41")
        assert alice.last == "You will be 42."
        await alice.send("41")
        assert alice.last == "heard 41"


async def test_who_is_asked_in_a_room_is_heard_elsewhere_meanwhile(asker: Bot) -> None:
    @asker.command
    async def ping() -> str:
        return "pong"

    async with FakeServer(asker) as server:
        alice = server.user("alice")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        await alice.send("!age", room=friends)
        await alice.send("!ping")
        assert alice.last == "pong"


async def test_an_answer_that_is_none_is_asked_for_three_times(asker: Bot) -> None:
    async with FakeServer(asker) as server:
        alice = server.user("alice")
        await alice.send("!age")
        await alice.send("old")
        assert alice.last == "that must be a whole number. Once more, please."
        await alice.send("very")
        await alice.send("very old")
        assert alice.last == "that must be a whole number. Usage: !age"
        await alice.send("41")
        assert alice.last == "heard 41"


async def test_a_question_that_nobody_answers_is_given_up(asker: Bot) -> None:
    async with FakeServer(asker) as server:
        alice = server.user("alice")
        await alice.send("!age")
        await server.advance("5m")
        assert alice.last == "That took too long and was ended."
        await alice.send("41")
        assert alice.last == "heard 41"


async def test_forty_who_say_nothing_hold_up_nobody(asker: Bot) -> None:
    async with FakeServer(asker) as server:
        silent = [server.user(f"silent{number}") for number in range(40)]
        for each in silent:
            await each.send("!age")
        bob = server.user("bob")
        await bob.send("hello")
        assert bob.last == "heard hello"
        assert {each.last for each in silent} == {"How old are you?"}
        for each in silent:
            await each.send("41")
        assert {each.last for each in silent} == {"You will be 42."}


async def test_who_would_be_one_question_too_many_is_told_to_wait(
    asker: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xmpp_onion.bot.questions._OPEN", 2)
    async with FakeServer(asker) as server:
        people = [server.user(name) for name in ("alice", "bob", "carol")]
        for each in people:
            await each.send("!age")
        assert people[2].last == (
            "I am asking too many people something just now. Try again in 61 s."
        )
        await people[0].send("41")
        await people[2].send("!age")
        assert people[2].last == "How old are you?"


async def test_one_person_is_asked_one_thing_in_one_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = Bot("asker", trust=Trust.PINNED)

    @bot.command
    async def both(ctx: Context) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.ask("How old?"))
            tasks.create_task(ctx.ask("How tall?"))

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!both")
        assert "How tall?" not in alice.inbox
    assert "ExceptionGroup" in caplog.text
