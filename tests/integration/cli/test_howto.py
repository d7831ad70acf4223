"""The commands of the how-to pages, typed as they stand."""

import asyncio
import re
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.onion.cli.conftest import NOBODY, Done, Running, World
from xmpp_onion.server import Prosody
from xmpp_onion.testing.socks_hub import SocksHub

pytestmark = pytest.mark.prosody

HOWTO = Path(__file__).parents[3] / "docs" / "howto"
BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(xmpp-onion [^`]+)`")
PATIENCE = 120.0
PEOPLE = ("alice", "bob", "carol", "dave", "mallory")


@dataclass
class Town(World):
    """A server behind a stand-in for Tor, and the people who have accounts there."""

    invites: dict[str, str] = field(default_factory=dict)

    def move_in(self, *names: str) -> None:
        """Make accounts, each in a profile of its own."""
        for name in names:
            done = self.run(
                "--profile", name, "account", "add", "--invite", self.invites[name]
            )
            assert done.code == 0, done.err


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The server and the proxy live in a thread: commands are waited for in ours."""
    folder = tmp_path_factory.mktemp("howto")
    made: list[Town] = []
    loops: list[asyncio.AbstractEventLoop] = []
    is_there, end = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with Prosody(folder / "server") as prosody, SocksHub() as hub:
            onion = str(prosody.onion)
            hub.routes[onion] = prosody.c2s_port
            network = SimpleNamespace(socks=f"127.0.0.1:{hub.port}")
            town = Town(network, folder, onion=onion)  # type: ignore[arg-type] # its port
            for name in PEOPLE:
                town.invites[name] = str(await prosody.invite(name))
            made.append(town)
            loops.append(asyncio.get_running_loop())
            is_there.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert is_there.wait(PATIENCE)
        made[0].data.mkdir(mode=0o700)
        made[0].move_in(*PEOPLE)
        yield made[0]
    finally:
        if loops:
            loops[0].call_soon_threadsafe(end.set)
        thread.join(PATIENCE)


class Page:
    """A page, and which of its command lines were typed."""

    def __init__(self, town: Town, name: str) -> None:
        text = (HOWTO / f"{name}.md").read_text("utf-8")
        self._town = town
        self._lines = [
            line
            for block in BLOCK.findall(text)
            for line in block.splitlines()
            if "xmpp-onion " in line
        ]
        self._lines += INLINE.findall(text)
        self._typed: set[str] = set()

    def type(self, line: str, person: str, *, stdin: str = "", onion: str = "") -> Done:
        """Run a line that stands on the page as somebody; it has to succeed."""
        assert line in self._lines, f"the page does not have it any more: {line}"
        self._typed.add(line)
        program, *words = shlex.split(
            line.replace("….onion", onion or self._town.onion)
        )
        assert program == "xmpp-onion"
        done = self._town.run("--profile", person, *words, stdin=stdin)
        assert done.code == 0, f"{line}: {done.err}"
        return done

    @property
    def not_typed(self) -> list[str]:
        """What nobody typed; a new line has to be typed above."""
        return [line for line in self._lines if line not in self._typed]


def until(running: Running, event: str) -> dict[str, object]:
    """Return the next line of an event."""
    while (line := running.line())["event"] != event:
        pass
    return line


def test_people(town: Town) -> None:
    page = Page(town, "people")
    alice = f"alice@{town.onion}"
    with (
        town.runs("--profile", "alice", "listen", "--json") as of_alice,
        town.runs("--profile", "bob", "listen", "--json") as of_bob,
    ):
        until(of_alice, "ready")
        until(of_bob, "ready")
        page.type("xmpp-onion contact add bob@….onion", "alice")
        until(of_bob, "request")
        waiting = page.type("xmpp-onion contact requests", "bob")
        assert alice in waiting.out
        page.type("xmpp-onion contact accept alice@….onion", "bob")
        until(of_alice, "contact-accepted")
        until(of_bob, "contact-accepted")
        assert alice in page.type("xmpp-onion contact list", "bob").out
        page.type("xmpp-onion contact receipts on", "bob")
        page.type(
            "xmpp-onion send bob@….onion --wait receipt", "alice", stdin="hello\n"
        )

        for stranger, answer in (
            ("mallory", "xmpp-onion contact refuse mallory@….onion"),
            ("carol", "xmpp-onion contact refuse --all"),
        ):
            asked = town.run("--profile", stranger, "contact", "add", alice)
            assert asked.code == 0, asked.err
            # Of the second one in a minute a listener is not told.
            while (
                stranger
                not in town.run("--profile", "alice", "contact", "requests").out
            ):
                pass
            page.type(answer, "alice")
            assert "@" not in page.type("xmpp-onion contact requests", "alice").out
        page.type("xmpp-onion contact refuse bob@….onion", "alice")
        page.type("xmpp-onion contact remove bob@….onion", "alice")
        page.type("xmpp-onion contact block mallory@….onion", "alice")
        blocked = page.type("xmpp-onion contact block", "alice")
        assert blocked.out.split() == [f"mallory@{town.onion}:", "blocked"]
        page.type("xmpp-onion contact block --undo mallory@….onion", "alice")
        page.type("xmpp-onion contact block ….onion", "alice", onion=NOBODY)

    assert page.not_typed == []


def test_rooms(town: Town) -> None:
    page = Page(town, "rooms")
    room = f"friends@muc.{town.onion}"
    with (
        town.runs("--profile", "alice", "listen", "--json") as of_alice,
        town.runs("--profile", "bob", "listen", "--json") as of_bob,
    ):
        until(of_alice, "ready")
        until(of_bob, "ready")
        page.type("xmpp-onion room create friends", "alice")
        page.type("xmpp-onion room invite friends bob@….onion carol@….onion", "alice")
        until(of_bob, "room-invited")
        assert room in page.type("xmpp-onion room invitations", "bob").out
        page.type("xmpp-onion room join friends@muc.….onion", "bob")
        page.type("xmpp-onion send friends@muc.….onion -m 'hello'", "alice")
        assert until(of_bob, "message")["body"] == "hello"
        others = town.run(
            "--profile", "alice", "room", "invite", "friends",
            *(f"{name}@{town.onion}" for name in ("dave", "mallory")),
        )  # fmt: skip
        assert others.code == 0, others.err
        members = page.type("xmpp-onion room members friends", "alice").out
        assert f"mallory@{town.onion}" in members
        page.type("xmpp-onion room strict friends on", "alice")
        page.type("xmpp-onion room accept friends dave@….onion", "alice")
        page.type("xmpp-onion room kick friends mallory@….onion", "alice")
        members = page.type("xmpp-onion room members friends", "alice").out
        assert f"mallory@{town.onion}" not in members
        assert room in page.type("xmpp-onion room list", "alice").out

    assert page.not_typed == []
