"""Each example does what it says, in a world without a network."""

import ast
import asyncio
import importlib.util
import inspect
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from xmpp_onion.bot import Bot
from xmpp_onion.chat import Affiliation
from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.testing import FakeServer
from xmpp_onion.testing.fake_world import ONION

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


def names() -> list[str]:
    return sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", names())
def test_an_example_is_short_and_has_a_test(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 80
    assert f'"{name}"' in Path(__file__).read_text()
    if name.endswith("_bot"):
        example = load(name)
        bots = [each for each in vars(example).values() if isinstance(each, Bot)]
        assert bots
        for bot in bots:
            bot.check()


def test_the_table_of_examples_names_each(root: Path) -> None:
    table = (EXAMPLES / "README.md").read_text()
    assert (
        re.findall(r"^\| \[`(\w+)\.py`\]\(\1\.py\) \|", table, re.MULTILINE) == names()
    )
    for page in ("README.md", "docs/index.md"):
        assert "examples/README.md" in (root / page).read_text()


# What the issue asks for: lines without blank ones, docstrings and the last two.
@pytest.mark.parametrize(("name", "most"), [("echo_bot", 12), ("moderator_bot", 15)])
def test_so_few_lines_are_enough(name: str, most: int) -> None:
    assert lines_of((EXAMPLES / f"{name}.py").read_text()) <= most


def test_a_command_has_six_lines_at_most() -> None:
    tree = ast.parse((EXAMPLES / "commands_bot.py").read_text())
    for each in tree.body:
        if isinstance(each, ast.AsyncFunctionDef) and each.name == "add":
            assert each.end_lineno is not None
            assert each.end_lineno - each.decorator_list[0].lineno + 1 <= 6


def test_a_test_has_eight_lines_at_most() -> None:
    assert len(inspect.getsource(test_echo).splitlines()) <= 8


def lines_of(source: str) -> int:
    """Count lines of code: without blank ones and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node) is not None
        ):
            node.body[0] = ast.Pass()
    code = ast.unparse(tree).splitlines()
    return len([line for line in code if line.strip() and line.strip() != "pass"])


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


GROUP = {
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "DiskFull", "instance": "db1"},
            "annotations": {"summary": "db1 is full"},
        },
        {"status": "resolved", "labels": {"alertname": "Slow"}, "annotations": {}},
    ]
}


async def post(path: Path, body: bytes) -> bytes:
    """Return the first line of an answer."""
    reader, writer = await asyncio.open_unix_connection(path)  # noqa: TID251 - as Alertmanager would
    head = f"POST / HTTP/1.1\r\nHost: bot\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readline()
    writer.close()
    return answer


async def test_alertmanager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTS_SOCKET", str(tmp_path / "alerts" / "hook"))
    example = load("alertmanager_bot")
    async with FakeServer(example.bot) as server:
        ops = server.user("ops")
        monkeypatch.setenv("OPERATORS", ops.jid)
        while not example.SOCKET.exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        assert b" 200 " in await post(example.SOCKET, json.dumps(GROUP).encode())
        assert ops.last == "firing: DiskFull db1 is full\nresolved: Slow"
        assert b" 400 " in await post(example.SOCKET, b'{"alerts": [1]}')
        ops.trust = TrustLevel.UNDECIDED  # so that nothing can be sent
        assert b" 503 " in await post(example.SOCKET, json.dumps(GROUP).encode())
        assert len(ops.inbox) == 1
    assert not example.SOCKET.exists()


async def test_reminder() -> None:
    async with FakeServer(bot_of("reminder_bot")) as server:
        alice = server.user("alice")
        await alice.send("!remind 1h the oven")
        await alice.send("!remind 9h sleep")
        assert alice.inbox[0] == "I shall, at 2026-01-01 01:00 UTC."
        await server.advance("59m")
        assert len(alice.inbox) == 2
        await server.restart(bot_of("reminder_bot"), away="2h")
        assert alice.last == "You wanted to be reminded: the oven"
        await alice.send("!forget")
        await server.advance("10h")
        assert alice.last == "Forgotten: 1."


async def test_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROP", str(tmp_path / "drop"))
    report = tmp_path / "report.txt"
    report.write_text("all is well")
    async with FakeServer(bot_of("drop_bot")) as server:
        alice = server.user("alice")
        await alice.send_file(report)
        assert sorted(alice.inbox) == ["Kept as report.txt.", "your file: 100 %"]
        await alice.send("!list")
        assert alice.last == "report.txt: 11 bytes"
        await alice.send("!get report.txt")
        assert [file.read_text() for file in alice.files] == ["all is well"]
        await alice.send("!get ../report.txt")
        assert len(alice.files) == 1


async def test_bridge() -> None:
    example = load("bridge_bot")
    async with FakeServer(example.left) as here, FakeServer(example.right) as there:
        alice, bob = here.user("alice"), there.user("bob")
        left = here.room("left", {alice: Affiliation.OWNER})
        right = there.room("right", {bob: Affiliation.OWNER})
        other = here.room("other", {alice: Affiliation.OWNER})
        example.build(left.jid, right.jid)
        await alice.send("hello", room=left)
        assert bob.inbox == ["⇄ alice: hello"]
        await bob.send("hi", room=right)
        assert alice.inbox == ["⇄ bob: hi"]
        await alice.send(bob.last, room=left)  # as another bridge would say it
        await alice.send("not for bob", room=other)
        await alice.send("nor this")
        assert bob.inbox == ["⇄ alice: hello"]


FEED = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><guid>%d</guid><title>Number %d</title><link>http://x/%d</link></item>
<item><guid>1</guid><title>Number 1</title></item></channel></rss>"""


async def test_feed() -> None:
    async with FakeServer(bot_of("feed_bot")) as server:
        alice, url = server.user("alice"), f"http://{server.jid.domain}/feed.xml"
        await alice.send(f"!follow {url}")
        assert "cannot be read" in alice.last
        server.pages[url] = FEED % (1, 1, 1)
        await alice.send(f"!follow {url}")
        assert alice.last == "You follow it; it has 2 entries now."
        server.pages[url] = FEED % (2, 2, 2)
        await server.advance("1h")
        assert alice.last == "Number 2\nhttp://x/2"
        said = len(alice.inbox)
        server.pages[url] = b"<!DOCTYPE rss [<!ENTITY a 'b'>]><rss/>"
        await server.advance("1h")
        await alice.send("!follow https://example.org/feed.xml")
        assert "cannot be read" in alice.last
        assert len(alice.inbox) == said + 1


async def test_stream() -> None:
    async with FakeServer(bot_of("stream_bot")) as server:
        alice = server.user("alice")
        await alice.send(" ".join(map(str, range(100))))
        assert alice.inbox == ["You asked:"]
        await server.advance("3s")
        assert alice.inbox[0].startswith("You asked: 0 1 2")
        await server.advance("1m")
        assert alice.inbox == [f"You asked: {' '.join(map(str, range(100)))}."]
        assert 4 < len(server.transcript) < 12  # few edits for a hundred words


async def test_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNERS", f"root@{ONION}")
    async with FakeServer(bot_of("admin_bot")) as server:
        root, alice, bob = map(server.user, ("root", "alice", "bob"))
        await bob.send("!promote bob@" + ONION)
        await bob.send("!motd mine")
        await root.send(f"!promote {alice.jid}")
        await server.restart(bot_of("admin_bot"))
        await alice.send("!motd tea at five")
        await alice.send("yes")
        await bob.send("!today")
        assert bob.last == "tea at five"
        await alice.send(f"!promote {bob.jid}")
        assert "!promote" in alice.last  # no such command, for her
        await root.send(f"!dismiss {alice.jid}")
        await alice.send("!motd again")
        assert "!motd" in alice.last


@pytest.mark.prosody
async def test_chat_client() -> None:
    example = load("chat_client")
    shown: asyncio.Queue[str] = asyncio.Queue()

    async def lines() -> AsyncIterator[str]:
        yield "hello"
        assert await shown.get() == "? echo: hello"
        yield "\u202ebye"
        assert await shown.get() == "? echo: \ufffdbye"

    bot = bot_of("echo_bot")
    bot.trust = Trust.BTBV
    async with (
        FakeServer(bot, server="prosody") as server,
        await server.enrol("me") as client,
        asyncio.timeout(60),
    ):
        await example.chat(client, server.jid, lines(), shown.put_nowait)
