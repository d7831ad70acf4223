"""The life of a bot."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.bot import Bot
from xmpp_onion.chat import DeliveryFailed, DeliveryState, Message, Receipt
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import ConfigurationError
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


async def test_what_is_done_beside_lives_as_long_as_the_bot() -> None:
    bot, seen = Bot("test", trust=Trust.PINNED), []
    bot.provide(seen)

    @bot.background
    async def beside(own: Bot, notes: list) -> None:  # type: ignore[type-arg] # found by its class
        await own.send(f"ops@{own.line.jid.domain}", "I am here")
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("gone")

    async with FakeServer(bot) as server:
        assert server.user("ops").last == "I am here"
        assert seen == []
    assert seen == ["gone"]


async def test_a_bot_ends_with_what_ends_beside_it() -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.background
    async def beside() -> None:
        raise ConnectionError("lost")

    with pytest.raises(ExceptionGroup) as caught:
        async with FakeServer(bot):
            pass
    assert caught.value.split(ConnectionError)[1] is None


async def test_what_nothing_provides_is_named_for_what_runs_beside() -> None:
    bot = Bot("test", trust=Trust.PINNED)

    @bot.background
    async def beside(count: Path) -> None: ...

    with pytest.raises(TypeError, match="beside wants a"):
        bot.check()


async def test_a_hook_is_called_when_the_connection_is_there_and_harms_nobody() -> None:
    bot, seen = Bot("test", trust=Trust.PINNED), []

    @bot.connected
    async def come(own: Bot) -> None:
        seen.append(own.name)
        raise ZeroDivisionError

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    async with FakeServer(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last == "hi"
    assert seen == ["test"]


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


ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
DIGITS = "0123456789abcdef" * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.touch(mode=0o600)
    return path


def test_a_bot_is_as_its_table_describes_it(file: Path) -> None:
    file.write_text(f"""
        [profiles.alerts]
        trust.policy = "blind"
        trust.pins = {{"root@{ONION}" = ["{DIGITS}"]}}
        roles.admin = ["root@{ONION}"]
        bot = {{prefix = "/", timeout = 5, max_age = 60, replay = true}}
        [profiles.other]
        bot.prefix = "?"
    """)

    bot = Bot.from_config("alerts", file)

    assert (bot.name, bot.trust) == ("alerts", Trust.BTBV)
    assert bot.roles == {"admin": {JID(f"root@{ONION}")}}
    assert bot.pins == {JID(f"root@{ONION}"): {DIGITS}}
    assert bot.rules.prefix == "/"
    assert bot.rules.timeout == timedelta(seconds=5)
    assert bot.rules.max_age == timedelta(seconds=60)
    assert bot.rules.replay


def test_a_file_without_a_policy_makes_no_bot(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no default.*profiles\.alerts"):
        Bot.from_config("alerts", file)


def test_pins_of_both_places_are_believed(tmp_path: Path) -> None:
    root, other = JID(f"root@{ONION}"), JID(f"other@{ONION}")
    account = Account(
        profile="alerts", folder=tmp_path, jid=JID(f"bot@{ONION}"), password="x"
    ).pin(root, DIGITS)
    bot = Bot("alerts", trust=Trust.PINNED, pins={root: ["f" * 64], other: [DIGITS]})

    adopted = bot.program.adopt(account)

    assert adopted.pins == {root: {DIGITS, "f" * 64}, other: {DIGITS}}


def test_the_loggers_of_its_handlers_are_its_own() -> None:
    bot = Bot("alerts", trust=Trust.PINNED)

    @bot.command
    async def hello() -> None: ...

    assert bot.program.loggers == {__name__.partition(".")[0]}


def test_an_unknown_setting_ends_a_bot_before_it_begins(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("sock = 1")
    monkeypatch.setenv("XMPP_ONION_CONFIG", str(file))
    handlers = logging.root.handlers[:]

    with pytest.raises(SystemExit) as caught:
        Bot("alerts", trust=Trust.PINNED).run()

    assert caught.value.code == 7
    assert "Did you mean socks?" in capsys.readouterr().err
    assert logging.root.handlers == handlers
