"""The same tests of a bot without keys, with them, and on a real server."""

import asyncio
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.unit.bot.test_plugin import run
from xmpp_onion.bot import (
    FSM,
    Bot,
    Context,
    Line,
    State,
    StatesGroup,
    affiliation,
    has_file,
    role,
    room,
    trusted,
)
from xmpp_onion.chat import (
    Affiliation,
    Correction,
    Message,
    Reaction,
    Retraction,
)
from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.errors import RoomError, UndecidedDevicesError
from xmpp_onion.rooms import Room
from xmpp_onion.testing import FakeServer

Make: TypeAlias = Callable[[Bot], FakeServer]


@pytest.fixture(
    params=["plain", "real", pytest.param("prosody", marks=pytest.mark.prosody)]
)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    if request.param == "prosody":
        return lambda bot: FakeServer(bot, server="prosody")

    def fenced(bot: Bot) -> FakeServer:
        # Only now: the loop of the test has sockets of its own.
        monkeypatch.setattr(socket, "socket", NoSocket)
        return FakeServer(bot, crypto="real" if request.param == "real" else "none")

    return fenced


class NoSocket(socket.socket):
    def __init__(self, *_args: object, **_more: object) -> None:
        raise AssertionError("a world in memory opens no socket")


def echoing(trust: Trust = Trust.PINNED) -> Bot:
    bot = Bot("echo", trust=trust)

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    return bot


async def test_an_echo(make: Make) -> None:
    async with make(echoing()) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last == "hi"


async def test_several_people_get_their_own_answers_in_order(make: Make) -> None:
    async with make(echoing()) as server:
        alice, bob = server.user("alice"), server.user("bob")
        for number in range(3):
            await alice.send(f"a{number}")
            await bob.send(f"b{number}")
        assert alice.inbox == ["a0", "a1", "a2"]
        assert bob.inbox == ["b0", "b1", "b2"]


@pytest.mark.parametrize("policy", list(Trust))
async def test_who_is_not_accepted_is_not_heard(make: Make, policy: Trust) -> None:
    async with make(echoing(policy)) as server:
        mallory = server.user("mallory", trust=TrustLevel.UNDECIDED)
        eve = server.user("eve", trust=TrustLevel.DISTRUSTED)
        await mallory.send("hi")
        await eve.send("hi")
        assert mallory.inbox == eve.inbox == []


async def test_a_decision_holds_from_the_next_message_on(make: Make) -> None:
    async with make(echoing(Trust.BTBV)) as server:
        alice = server.user("alice", trust=TrustLevel.BLINDLY_TRUSTED)
        await alice.send("one")
        alice.trust = TrustLevel.UNDECIDED
        await alice.send("two")
        alice.trust = TrustLevel.TRUSTED
        await alice.send("three")
        assert alice.inbox == ["one", "three"]


async def test_only_a_verified_device_passes_the_filter(make: Make) -> None:
    bot = Bot("test", trust=Trust.BTBV)

    @bot.message(trusted)
    async def secret() -> str:
        return "the secret"

    async with make(bot) as server:
        alice = server.user("alice")
        bob = server.user("bob", trust=TrustLevel.BLINDLY_TRUSTED)
        await alice.send("?")
        await bob.send("?")
        assert (alice.inbox, bob.inbox) == (["the secret"], [])


async def test_nothing_is_said_to_an_undecided_device(make: Make) -> None:
    bot = Bot("test", trust=Trust.BTBV)
    async with make(bot) as server:
        mallory = server.user("mallory", trust=TrustLevel.UNDECIDED)
        await mallory.send("hi")
        with pytest.raises(UndecidedDevicesError):
            await bot.send(mallory.jid, "a secret")
        assert mallory.inbox == []


async def test_commands_help_and_usage(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.command
    async def add(a: int, b: int = 1) -> str:
        """Add two numbers."""
        return str(a + b)

    async with make(bot) as server:
        alice = server.user("alice")
        await alice.send("!add 2 3")
        await alice.send("!add two")
        await alice.send("!help")
        assert alice.inbox[0] == "5"
        assert "Usage: !add <a> [b]" in alice.inbox[1]
        assert "Add two numbers." in alice.inbox[2]


async def test_a_role_is_an_account_with_an_accepted_device(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.command(when=role("admin"))
    async def stop() -> str:
        return "stopped"

    async with make(bot) as server:
        alice, bob = server.user("alice"), server.user("bob")
        bot.roles = {"admin": frozenset({alice.jid})}
        await alice.send("!stop")
        await bob.send("!stop")
        assert alice.last == "stopped"
        assert "!stop" in bob.last  # there is no such command for him
        assert "stopped" not in bob.inbox


async def test_a_question_is_answered_by_the_next_message(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.command
    async def age(ctx: Context) -> str:
        return f"you are {await ctx.ask('How old?', int)}"

    async with make(bot) as server:
        alice = server.user("alice")
        await alice.send("!age")
        assert alice.last == "How old?"
        await alice.send("seven")
        await alice.send("7")
        assert alice.last == "you are 7"


class Order(StatesGroup):
    item = State()
    count = State()


async def test_a_conversation_goes_on_after_a_restart(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

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
        return f"{msg.text} x {(await fsm.data())['item']}"

    async with make(bot) as server:
        alice = server.user("alice")
        await alice.send("!order")
        await alice.send("tea")
        await server.restart()
        await alice.send("3")
        assert alice.inbox == ["what?", "how many?", "3 x tea"]


async def test_what_a_bot_keeps_is_there_after_a_restart(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.command
    async def count(own: Bot) -> str:
        number = await own.state.get("number", 0)
        assert isinstance(number, int)
        await own.state.set("number", number + 1)
        return str(number + 1)

    async with make(bot) as server:
        alice = server.user("alice")
        await alice.send("!count")
        await server.restart()
        await alice.send("!count")
        assert alice.inbox == ["1", "2"]


async def test_a_handler_that_raises_says_a_number_and_harms_nobody(
    make: Make,
) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.message
    async def moody(msg: Message) -> str:
        return str(1 // int(msg.text))

    async with make(bot) as server:
        alice = server.user("alice")
        await alice.send("0")
        await alice.send("1")
        assert alice.inbox[0].startswith("That did not work")
        assert alice.inbox[1] == "1"


async def test_an_edit_a_reaction_and_a_retraction_reach_the_bot(make: Make) -> None:
    bot, seen = Bot("test", trust=Trust.PINNED), []

    @bot.message
    async def echo(msg: Message) -> str:
        seen.append(msg.text)
        return msg.text

    @bot.on(Correction)
    async def corrected(event: Correction) -> None:
        seen.append(f"{event.target}={event.text}")

    @bot.on(Reaction)
    async def felt(event: Reaction) -> None:
        seen.append(f"{event.target}{event.emojis[0]}")

    @bot.on(Retraction)
    async def gone(event: Retraction) -> None:
        seen.append(f"-{event.target}")

    async with make(bot) as server:
        alice = server.user("alice")
        number = await alice.send("hi")
        answer = alice.last_id
        await alice.edit(number, "ho")
        await alice.react(answer, "👍")
        await alice.retract(number)
        assert seen == ["hi", f"{number}=ho", f"{answer}👍", f"-{number}"]
        assert alice.inbox == ["hi"]  # none of them is an order


async def test_a_bot_edits_reacts_and_takes_back(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.message
    async def play(ctx: Context) -> None:
        await ctx.react("👀")
        first = await ctx.line.send(ctx.place, "one")
        second = await ctx.line.send(ctx.place, "two", reply_to=ctx.message)
        await ctx.line.correct(ctx.place, first.id, "uno")
        await ctx.line.retract(ctx.place, second.id)

    async with make(bot) as server:
        alice = server.user("alice")
        number = await alice.send("go")
        assert alice.inbox == ["uno"]
        assert alice.reactions == {number: ("👀",)}


async def test_files_go_both_ways(make: Make, tmp_path: Path) -> None:
    bot = Bot("test", trust=Trust.PINNED)
    folder, source = tmp_path / "got", tmp_path / "a report.txt"
    folder.mkdir()
    source.write_text("all is well")

    @bot.message(has_file)
    async def back(ctx: Context) -> str:
        assert ctx.message.attachment is not None
        saved = await ctx.message.attachment.save(folder)
        await ctx.send_file(saved)
        return saved.name

    async with make(bot) as server:
        alice = server.user("alice")
        await alice.send_file(source)
        assert alice.last == "a report.txt"
        assert [file.read_text() for file in alice.files] == ["all is well"]


async def test_what_is_said_in_a_room_is_answered_to_all(make: Make) -> None:
    async with make(echoing()) as server:
        alice, bob = server.user("alice"), server.user("bob")
        friends = server.room(
            "friends", {alice: Affiliation.OWNER, bob: Affiliation.MEMBER}
        )
        await alice.send("hello", room=friends)
        await bob.send("to you alone")
        assert alice.inbox == ["hello"]
        assert bob.inbox == ["hello", "to you alone"]


async def test_an_admin_of_a_room_may_and_a_member_may_not(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.command(when=room & affiliation(Affiliation.ADMIN))
    async def kick(muc: Room, who: str) -> str:
        await muc.kick(who)
        return "done"

    async with make(bot) as server:
        alice, mallory = server.user("alice"), server.user("mallory")
        friends = server.room(
            "friends",
            {alice: Affiliation.ADMIN, mallory: Affiliation.MEMBER},
            bot=Affiliation.ADMIN,
        )
        await mallory.send(f"!kick {alice.jid}", room=friends)
        await alice.send(f"!kick {mallory.jid}", room=friends)
        assert alice.inbox == ["done"]
        assert mallory.jid not in await friends.members()
        assert mallory.inbox == []


async def test_a_bot_that_is_a_member_takes_nobody_out(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.command
    async def kick(muc: Room, who: str) -> str:
        try:
            await muc.kick(who)
        except RoomError as error:
            return f"no: {error.condition}"
        return "done"

    async with make(bot) as server:
        alice, bob = server.user("alice"), server.user("bob")
        friends = server.room(
            "friends", {alice: Affiliation.OWNER, bob: Affiliation.MEMBER}
        )
        await alice.send(f"!kick {bob.jid}", room=friends)
        assert bob.inbox == ["no: not-allowed"]
        assert bob.jid in await friends.members()


async def test_what_a_test_asserts_is_told_as_it_is(make: Make) -> None:
    with pytest.raises(AssertionError, match=r"^the test's own$"):
        async with make(echoing()):
            raise AssertionError("the test's own")


async def test_a_startup_hook_and_what_is_provided(make: Make) -> None:
    bot = Bot("test", trust=Trust.PINNED)
    bot.provide(["tea"])

    @bot.startup
    async def fill() -> None:
        bot.services[list].append("milk")  # type: ignore[attr-defined] # a list was provided

    @bot.command
    async def stock(shelf: list) -> str:  # type: ignore[type-arg] # found by its class
        return " and ".join(shelf)

    async with make(bot) as server:
        alice = server.user("alice")
        await alice.send("!stock")
        assert alice.last == "tea and milk"


async def test_handlers_of_several_people_run_beside_each_other(make: Make) -> None:
    bot, meeting = Bot("test", trust=Trust.PINNED), asyncio.Barrier(2)

    @bot.message
    async def meet() -> str:
        async with asyncio.timeout(60):
            await meeting.wait()
        return "met"

    async with make(bot) as server, asyncio.TaskGroup() as tasks:
        people = [server.user("alice"), server.user("bob")]
        for person in people:
            tasks.create_task(person.send("hi"))
        while not all(person.inbox for person in people):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        assert [person.last for person in people] == ["met", "met"]


async def test_the_line_of_a_world_is_a_line(make: Make) -> None:
    async with make(bot := echoing()) as server:
        line: Line = bot.line
        assert line.jid == server.jid
        assert repr(server.user("alice")) == "<FakeUser alice>"


@pytest.mark.prosody
async def test_a_real_server_does_not_pretend_to_move_a_clock() -> None:
    with pytest.raises(ValueError, match="clock"):
        FakeServer(echoing(), server="prosody", now=datetime.now(UTC))
    async with FakeServer(echoing(), server="prosody") as server:
        alice = server.user("alice")
        for attempt in (
            server.advance("10m"),
            server.restart(away="1h"),
            alice.send("hi", age="1h"),
        ):
            with pytest.raises(RuntimeError, match="a real one"):
                await attempt
        with pytest.raises(RuntimeError, match="a real one"):
            assert server.clock


@pytest.mark.prosody
def test_an_option_of_pytest_puts_a_suite_on_a_real_server(tmp_path: Path) -> None:
    said = run(tmp_path, "--xmpp-server", "prosody")

    assert "1 failed" in said  # a device has a number by chance
    assert "alice: hi" in said
    assert "to alice: hi from" in said
