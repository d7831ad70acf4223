"""Each example does what it says, in a world without a network."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from xmpp_onion.bot import Bot
from xmpp_onion.chat import Affiliation
from xmpp_onion.testing import FakeServer

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bot_of(name: str) -> Bot:
    bot = load(name).bot
    assert isinstance(bot, Bot)
    return bot


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_an_example_is_short_and_has_a_test(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 80
    assert f'"{path.stem}"' in Path(__file__).read_text()
    bot_of(path.stem).check()


async def test_echo() -> None:
    async with FakeServer(bot_of("echo_bot")) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last == "hi"


async def test_commands() -> None:
    async with FakeServer(bot_of("commands_bot")) as server:
        alice = server.user("alice")
        await alice.send("!add 2 3")
        assert alice.last == "5"
        await alice.send("!mute high 2h disk swap")
        assert alice.last == "high muted for 2:00:00: disk swap"
        await alice.send("!add two")
        assert "Usage: !add <a> [b]" in alice.last


async def test_moderator() -> None:
    async with FakeServer(bot_of("moderator_bot")) as server:
        alice, mallory = server.user("alice"), server.user("mallory")
        friends = server.room(
            "friends",
            {alice: Affiliation.ADMIN, mallory: Affiliation.MEMBER},
            bot=Affiliation.ADMIN,
        )
        await mallory.send(f"!kick {alice.jid}", room=friends)
        assert alice.inbox == []
        await mallory.send("look: http://example.org/", room=friends)
        assert alice.last == "That link leaves Tor: mind who runs the exit."
        await mallory.send(f"look: http://{server.jid.domain}/", room=friends)
        assert len(alice.inbox) == 1
        await alice.send(f"!kick {mallory.jid} spam", room=friends)
        assert alice.last == "mallory was taken out. spam"
        assert mallory.jid not in await friends.members()


async def test_order() -> None:
    async with FakeServer(bot_of("order_bot")) as server:
        alice = server.user("alice")
        await alice.send("!order")
        await alice.send("tea")
        await server.restart(bot_of("order_bot"))
        await alice.send("some")
        await alice.send("3")
        assert alice.inbox[-2:] == ["A number, please.", "3 x tea: it is on its way."]


async def test_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    used = SimpleNamespace(used=95, total=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: used)
    async with FakeServer(bot_of("disk_bot")) as server:
        ops = server.user("ops")
        monkeypatch.setenv("OPERATORS", ops.jid)
        await server.advance("20m")
        assert ops.inbox == ["disk full"]
        used.used = 10
        await server.advance("20m")
        assert ops.inbox == ["disk full", "disk well again"]
