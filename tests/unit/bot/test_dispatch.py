"""Which handler gets a message, and what is answered."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Literal

import pytest

from xmpp_onion.bot import (
    Bot,
    Context,
    Next,
    Router,
    Texts,
    direct,
    mentioned,
    regex,
    role,
    room,
)
from xmpp_onion.bot.router import Per
from xmpp_onion.chat import Affiliation, Message
from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.errors import RateLimitedError, UsageError
from xmpp_onion.testing import FakeServer

SILENCE = "Usage: !silence <low|high> <for> [reason…]"


@pytest.fixture
def bot() -> Bot:
    return Bot("test", trust=Trust.PINNED)


async def test_a_returned_string_is_the_answer(bot: Bot) -> None:
    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text.upper()

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.inbox == ["HI"]


@pytest.mark.parametrize("trust", [TrustLevel.UNDECIDED, TrustLevel.DISTRUSTED])
async def test_who_is_not_accepted_is_not_heard(bot: Bot, trust: TrustLevel) -> None:
    heard = []

    @bot.message
    async def listen(msg: Message) -> str:
        heard.append(msg.text)
        return "yes?"

    @bot.command
    async def open_the_door() -> str:
        heard.append("the door")
        return "it is open"

    async with FakeServer(bot) as server:
        mallory = server.user("mallory", trust=trust)
        await mallory.send("hi")
        await mallory.send("!open-the-door")
        await mallory.send("!help")

        assert mallory.inbox == []
    assert heard == []


async def test_the_first_handler_that_fits_gets_a_message(bot: Bot) -> None:
    @bot.message(direct & regex("^a"))
    async def first() -> str:
        return "first"

    @bot.message(direct)
    async def second() -> str:
        return "second"

    @bot.message
    async def third() -> str:
        return "third"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        await alice.send("abc")
        await alice.send("xyz")
        await alice.send("abc", room=friends)

        assert alice.inbox == ["first", "second", "third"]


async def test_none_is_silence(bot: Bot) -> None:
    @bot.message
    async def listen() -> None:
        return None

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.inbox == []


# --- commands ----------------------------------------------------------------------


@pytest.fixture
def commands(bot: Bot) -> Bot:
    @bot.command
    async def add(a: int, b: int = 1) -> str:
        """Add two numbers.

        The second is one by default.
        """
        return str(a + b)

    @bot.command(aliases=["mute"])
    async def silence(
        level: Literal["low", "high"], for_: timedelta, *, reason: str = ""
    ) -> str:
        """Mute alerts."""
        return f"{level} for {for_}: {reason}"

    @bot.command(when=role("admin"))
    async def stop(ctx: Context) -> str:
        """Stop everything."""
        return f"{ctx.sender.local} stopped it"

    return bot


@pytest.mark.parametrize(
    ("typed", "answered"),
    [
        ("!add 2 3", "5"),
        ("!add 2", "3"),
        ("!ADD 2 3", "5"),
        ("!add  2   3 ", "5"),
        ("!add\n2", "3"),
        ("!add", "a is missing. Usage: !add <a> [b]"),
        ("!add two", "a must be a whole number. Usage: !add <a> [b]"),
        ("!add 1 2 3", "there is more than it takes. Usage: !add <a> [b]"),
        ("!silence high 2h disk swap", "high for 2:00:00: disk swap"),
        ("!mute LOW 90s", "low for 0:01:30: "),
        ("!mute none 90s", f"level must be one of low, high. {SILENCE}"),
        ("!stop", "I do not know !stop. Try !help"),
        ("!nothing", "I do not know !nothing. Try !help"),
        ("!!!", ""),
    ],
)
async def test_a_command_is_typed_and_answered(
    commands: Bot, typed: str, answered: str
) -> None:
    async with FakeServer(commands) as server:
        alice = server.user("alice")
        await alice.send(typed)
        assert alice.last == answered


async def test_help_names_what_the_caller_may_do(commands: Bot) -> None:
    async with FakeServer(commands) as server:
        root, alice = server.user("root"), server.user("alice")
        commands.roles = {"admin": frozenset({root.jid})}
        await alice.send("!help")
        await root.send("!help")
        await root.send("!stop")

        assert alice.last.splitlines() == [
            "Commands:",
            "!add <a> [b]: Add two numbers.",
            "!silence <low|high> <for> [reason…]: Mute alerts.",
        ]
        assert "!stop: Stop everything." in root.inbox[0]
        assert root.last == "root stopped it"


async def test_help_of_one_command_says_all_of_it(commands: Bot) -> None:
    async with FakeServer(commands) as server:
        alice = server.user("alice")
        await alice.send("!help add")
        assert alice.last == (
            "!add <a> [b]\nAdd two numbers.\n\nThe second is one by default."
        )
        await alice.send("!help !mute")
        assert alice.last.endswith("(!mute)")
        await alice.send("!help stop")  # not hers: no more than if it did not exist
        assert alice.last.startswith("Commands:")


async def test_a_mistyped_command_in_a_room_is_nobodys(commands: Bot) -> None:
    async with FakeServer(commands) as server:
        alice = server.user("alice")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        await alice.send("!nothing", room=friends)
        await alice.send("!stop", room=friends)
        assert alice.inbox == []


async def test_an_old_command_is_not_done_and_an_old_message_is_heard(
    bot: Bot,
) -> None:
    done = []

    @bot.command
    async def restart() -> str:
        done.append("restart")
        return "done"

    @bot.message
    async def listen() -> str:
        return "heard"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!restart", age="11m")
        assert alice.last == "That is 11 minutes old, so I did not do it. Say it again."
        await alice.send("hello", age="11m")
        assert alice.last == "heard"
        assert done == []
        await alice.send("!restart", age="9m")
        assert done == ["restart"]


async def test_old_commands_are_done_by_who_says_so() -> None:
    bot = Bot("test", trust=Trust.PINNED, replay=True)

    @bot.command
    async def restart() -> str:
        return "done"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!restart", age="3d")
        assert alice.last == "done"


async def test_two_commands_of_one_name_are_refused(bot: Bot) -> None:
    @bot.command
    async def add(a: int) -> str:
        return str(a)

    with pytest.raises(ValueError, match="there is such a command"):
        bot.command("add")(add)
    with pytest.raises(ValueError, match="there is such a command"):
        bot.command("plus", aliases=["add"])(add)


# --- rates ---------------------------------------------------------------------------


async def test_a_rate_is_each_persons_in_each_place(bot: Bot) -> None:
    @bot.command(rate="2/m")
    async def ping() -> str:
        return "pong"

    async with FakeServer(bot) as server:
        alice, bob = server.user("alice"), server.user("bob")
        for _ in range(3):
            await alice.send("!ping")
        assert alice.inbox == [
            "pong",
            "pong",
            "That is too often. Try again in 31 s.",
        ]
        await bob.send("!ping")
        assert bob.last == "pong"
        await server.advance("30s")
        await alice.send("!ping")
        assert alice.last == "pong"


async def test_who_is_too_quick_gets_the_error_handler(bot: Bot) -> None:
    @bot.command(rate="1/h")
    async def ping() -> str:
        return "pong"

    @bot.error(RateLimitedError)
    async def slow(ctx: Context, error: RateLimitedError) -> str:
        return f"slow down, {ctx.sender.local}: {error.retry_after:.0f}"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!ping")
        await alice.send("!ping")
        assert alice.last == "slow down, alice: 3600"


async def test_two_bots_that_answer_each_other_come_to_rest(bot: Bot) -> None:
    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    async with FakeServer(bot) as server:
        other = server.user("other")
        for number in range(1000):
            await other.send(str(number))
        assert len(other.inbox) == 20
        await server.advance("60s")
        await other.send("again")
        assert other.last == "again"


# --- what goes wrong -----------------------------------------------------------------


async def test_what_a_handler_raises_is_a_number_that_leads_to_the_log(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.command
    async def divide(a: int, b: int) -> str:
        return str(a // b)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!divide 1 0")
        number = alice.last.rpartition(" ")[2]
        assert alice.last == f"That did not work; the log knows why: {number}"
        assert number in caplog.text
        assert "ZeroDivisionError" in caplog.text
        await alice.send("!divide 4 2")
        assert alice.last == "2"


async def test_the_text_of_an_error_is_in_no_answer_and_no_log(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.message
    async def quote(msg: Message) -> str:
        raise ValueError(msg.text)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("my secret")
        assert "my secret" not in alice.last
    assert "my secret" not in caplog.text


async def test_the_nearest_error_handler_is_asked(bot: Bot) -> None:
    @bot.command
    async def raise_(what: str) -> str:
        raise {"key": KeyError, "index": IndexError, "value": ValueError}[what]

    @bot.error(LookupError)
    async def lookup() -> str:
        return "not found"

    @bot.error(KeyError)
    async def key() -> str:
        return "no such key"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        for what in ("key", "index", "value"):
            await alice.send(f"!raise {what}")
        assert alice.inbox[:2] == ["no such key", "not found"]
        assert alice.last.startswith("That did not work")


async def test_an_error_handler_that_raises_harms_nobody(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.message
    async def listen() -> str:
        raise ValueError

    @bot.error(ValueError)
    async def worse() -> str:
        raise TypeError

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last.startswith("That did not work")
    assert "TypeError" in caplog.text


async def test_a_handler_may_say_that_something_was_typed_wrong(bot: Bot) -> None:
    @bot.command
    async def pay(sum_: int) -> str:
        if sum_ > 10:
            raise UsageError("that is too much")
        return "paid"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!pay 11")
        assert alice.last == "that is too much. Usage: !pay <sum>"


async def test_a_handler_that_hangs_is_ended_and_holds_up_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = Bot("test", trust=Trust.PINNED, timeout=timedelta(seconds=0.05))

    @bot.message
    async def listen(msg: Message) -> str:
        if msg.text == "hang":
            await asyncio.Event().wait()
        return msg.text

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("hang")
        assert alice.last == "That took too long and was ended."
        await alice.send("on")
        assert alice.last == "on"
    assert "TimeoutError" in caplog.text


# --- fairness ------------------------------------------------------------------------


async def test_one_who_waits_holds_up_himself_and_keeps_his_order(bot: Bot) -> None:
    gate = asyncio.Event()

    @bot.message
    async def listen(msg: Message) -> str:
        if msg.text == "wait":
            await gate.wait()
        return msg.text

    async with FakeServer(bot) as server:
        alice, bob = server.user("alice"), server.user("bob")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(alice.send("wait"))
            await asyncio.sleep(0)
            tasks.create_task(alice.send("behind"))
            tasks.create_task(bob.send("hello"))
            while bob.last != "hello":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
            assert alice.inbox == []
            gate.set()
        assert alice.inbox == ["wait", "behind"]


# --- around the handlers -------------------------------------------------------------


async def test_middleware_stands_around_all_handlers_the_first_outermost(
    bot: Bot,
) -> None:
    seen = []

    @bot.middleware
    async def outer(ctx: Context, call_next: Next) -> object:
        assert ctx.message.text
        seen.append("outer")
        return f"<{await call_next()}>"

    @bot.middleware
    async def inner(ctx: Context, call_next: Next) -> object:
        seen.append("inner")
        return None if ctx.message.text == "stop" else await call_next()

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        await alice.send("stop")
        assert alice.inbox == ["<hi>", "<None>"]
    assert seen == ["outer", "inner"] * 2


class Database:
    """Something of the bot's own."""

    def __init__(self, name: str) -> None:
        self.name = name


async def test_a_handler_gets_what_it_wants_by_type(bot: Bot) -> None:
    bot.provide(Database("numbers"))

    @bot.command
    async def which(
        ctx: Context, db: Database, own: Bot, msg: Message, word: str
    ) -> str:
        assert ctx.message is msg
        return f"{db.name} {own.name} {word}"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!which x")
        assert alice.last == "numbers test x"


async def test_what_nothing_provides_is_told_before_the_bot_begins(bot: Bot) -> None:
    @bot.command
    async def which(db: Database) -> str:
        return db.name

    with pytest.raises(TypeError, match=r"which wants a Database.*bot\.provide"):
        bot.check()
    bot.provide(Database("numbers"))
    bot.check()


async def test_a_router_is_included_with_its_filter() -> None:
    router = Router(when=room)

    @router.command
    async def here() -> str:
        return "in a room"

    bot = Bot("test", trust=Trust.PINNED)
    bot.include(router)
    async with FakeServer(bot) as server:
        alice = server.user("alice")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        await alice.send("!here")
        await alice.send("!here", room=friends)
        assert alice.inbox == ["I do not know !here. Try !help", "in a room"]


async def test_a_bot_speaks_your_language() -> None:
    texts = Texts(unknown="{name} kenne ich nicht.", failed="Ging nicht: {id}")
    bot = Bot("test", trust=Trust.PINNED, prefix="/", texts=texts)

    @bot.command
    async def add(a: int) -> str:
        return str(a)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("/sub 1")
        assert alice.last == "/sub kenne ich nicht."


async def test_a_bot_knows_by_account_whether_it_is_spoken_to() -> None:
    bot = Bot("listener", trust=Trust.TOFU)

    @bot.message
    async def hear(msg: Message) -> str | None:
        return "yes?" if msg.mentions_me else None

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        friends = server.room("friends", {alice: Affiliation.MEMBER})
        await alice.send("bot, are you there?", room=friends)
        assert alice.inbox == []
        await alice.send("are you?", room=friends, mentions=[server.jid])
        assert alice.inbox == ["yes?"]


async def test_a_command_that_a_process_died_over_is_not_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xmpp_onion.bot.work._DRAIN", 0.01)
    bot, done = Bot("test", trust=Trust.PINNED), []

    @bot.command
    async def pay(ctx: Context, amount: int) -> str:
        done.append(amount)
        if amount == 5:
            await ctx.ask("Really?")
        return "paid"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!pay 5")
        await server.restart()
        assert alice.last == bot.texts.interrupted
        await alice.send("!pay 7")
        assert alice.last == "paid"
    assert done == [5, 7]


@pytest.mark.parametrize(
    ("per", "heard"),
    [
        ("each", ["a", "a in r", "b", "b in r"]),
        ("person", ["a", "b"]),
        ("place", ["a", "a in r", "b"]),
        ("all", ["a"]),
    ],
)
async def test_a_rate_is_counted_of_whom_it_says(per: Per, heard: list[str]) -> None:
    bot, done = Bot("test", trust=Trust.PINNED), []

    @bot.command(rate="1/h", per=per)
    async def do(*, who: str) -> None:
        done.append(who)

    async with FakeServer(bot) as server:
        a, b = server.user("a"), server.user("b")
        r = server.room("r", {a: Affiliation.MEMBER, b: Affiliation.MEMBER})
        for user in (a, b):
            name = user.jid.local
            await user.send(f"!do {name}")
            await user.send(f"!do {name} again")
            await user.send(f"!do {name} in r", room=r)
    assert done == heard


async def test_no_more_of_a_command_run_at_once_than_may() -> None:
    bot, begun, end = Bot("test", trust=Trust.PINNED), [], asyncio.Event()

    @bot.command(at_once=2)
    async def build(ctx: Context) -> str:
        begun.append(ctx.sender.local)
        await end.wait()
        return "built"

    async with FakeServer(bot) as server, asyncio.TaskGroup() as tasks:
        people = [server.user(name) for name in ("a", "b", "c")]
        for each in people[:2]:
            tasks.create_task(each.send("!build"))
        while len(begun) < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        tasks.create_task(people[2].send("!build"))
        while not people[2].inbox:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        end.set()
    assert begun == ["a", "b"]
    assert [each.last for each in people] == ["built", "built", bot.texts.busy]


async def test_a_place_is_free_again_when_one_failed() -> None:
    bot, tries = Bot("test", trust=Trust.PINNED), []

    @bot.command(at_once=1)
    async def build() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ZeroDivisionError
        return "built"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!build")
        await alice.send("!build")
        assert alice.last == "built"


async def test_who_is_asked_and_says_nothing_keeps_no_place_of_a_command() -> None:
    bot, working = Bot("test", trust=Trust.PINNED), Counter[str]()
    gate = asyncio.Event()

    @bot.command(at_once=1)
    async def build(ctx: Context) -> str:
        what = await ctx.ask("What?")
        working["now"] += 1
        working["most"] = max(working["now"], working["most"])
        await gate.wait()
        working["now"] -= 1
        return f"built {what}"

    async with FakeServer(bot) as server, asyncio.TaskGroup() as tasks:
        people = [server.user(name) for name in ("a", "b", "c")]
        for each in people:
            await each.send("!build")
        asked = [each.last for each in people]
        for each in people:
            tasks.create_task(each.send("a boat"))
        while not working["now"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        late = server.user("d")
        tasks.create_task(late.send("!build"))
        while not late.inbox:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        gate.set()
    assert asked == ["What?"] * 3
    assert late.last == bot.texts.busy
    assert [each.last for each in people] == ["built a boat"] * 3
    assert working["most"] == 1


async def test_a_handler_has_its_time_beside_that_of_who_is_asked() -> None:
    bot, contexts = Bot("test", trust=Trust.PINNED), []

    def is_timed() -> bool:
        (ctx,) = contexts
        assert ctx.deadline is not None
        return ctx.deadline.when() is not None

    @bot.command
    async def order(ctx: Context) -> str:
        contexts.append(ctx)
        answer = await ctx.ask("What?")
        return f"{answer}: {is_timed()}"

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("!order")
        assert not is_timed()
        await alice.send("tea")
        assert alice.last == "tea: True"


async def test_a_bot_can_do_what_speaks_of_it_alone() -> None:
    bot, heard = Bot("test", trust=Trust.PINNED), []

    @bot.message(mentioned)
    async def listen(msg: Message) -> None:
        heard.append(msg.text)

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("to all")
        await alice.send("to you", mentions=[server.jid])
    assert heard == ["to you"]
