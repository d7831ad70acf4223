"""The commands of the how-to pages, typed as they stand."""

import asyncio
import grp
import os
import re
import secrets
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.onion.cli.conftest import NOBODY, Done, Running, World
from xmpp_onion.server import Prosody
from xmpp_onion.testing.socks_hub import SocksHub

pytestmark = pytest.mark.prosody

HOWTO = Path(__file__).parents[3] / "docs" / "howto"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(xmpp-onion [^`]+)`")
PATIENCE = 120.0
# What asks at a terminal has nobody to ask here.
UNASKED = " --yes"
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

    @property
    def programs(self) -> Path:
        """Where a shell finds ``xmpp-onion``."""
        return self.folder / "bin"

    def install(self) -> None:
        """Make the command that the pages name."""
        self.programs.mkdir()
        program = self.programs / "xmpp-onion"
        program.write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m xmpp_onion "$@"\n'
        )
        program.chmod(0o755)

    def shell(self, line: str, person: str, *, stdin: str = "", **more: str) -> Done:
        """Run a line as somebody who types it in the folder of this town."""
        path = f"{self.programs}:{self.environment['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
            timeout=PATIENCE,
            cwd=self.folder,
            env=self.environment | {"PATH": path, "XMPP_ONION_PROFILE": person} | more,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)


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
            hub.doors[onion, 5280] = prosody.http_port
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
        made[0].install()
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
            for language, block in BLOCK.findall(text)
            if language in {"", "sh"}
            for line in block.splitlines()
            if "xmpp-onion " in line
        ]
        self._lines += INLINE.findall(text)
        self._typed: set[str] = set()

    def type(
        self,
        line: str,
        person: str,
        *,
        stdin: str = "",
        onion: str = "",
        swap: Mapping[str, str] | None = None,
        **more: str,
    ) -> Done:
        """Run a line that stands on the page as somebody; it has to succeed.

        Args:
            line: As it stands there.
            person: Whose profile it is typed for.
            stdin: What it reads.
            onion: What stands for the name that the page leaves out.
            swap: What else a reader puts in the place of an example.
            more: The environment.
        """
        words = self._take(line)
        for example, real in (swap or {}).items():
            assert example in words, f"{example} is not in {line}"
            words = words.replace(example, real)
        words = words.replace("….onion", onion or self._town.onion)
        done = self._town.shell(words, person, stdin=stdin, **more)
        assert done.code == 0, f"{line}: {done.err}"
        return done

    @contextmanager
    def runs(self, line: str, person: str, *more: str) -> Iterator[Running]:
        """Start a line that goes on until the block ends."""
        program, *words = shlex.split(self._take(line))
        assert program == "xmpp-onion"
        with self._town.runs("--profile", person, *words, *more) as running:
            yield running

    def _take(self, line: str) -> str:
        assert line in self._lines, f"the page does not have it any more: {line}"
        self._typed.add(line)
        return line

    @property
    def not_typed(self) -> list[str]:
        """What nobody typed; a new line has to be typed, or have a reason."""
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


def test_decide_about_devices(town: Town) -> None:
    page = Page(town, "decide-about-devices")
    alice = f"alice@{town.onion}"

    def of_alice() -> list[dict[str, object]]:
        return town.run("--profile", "alice", "devices", "list", "--json").lines

    with town.runs("--profile", "bob", "listen", "--json") as listening:
        until(listening, "ready")
        page.type("xmpp-onion trust policy alice@….onion manual", "bob")
        page.type("xmpp-onion trust policy alice@….onion default", "bob")
        uri = page.type("xmpp-onion trust qr", "alice").out.split()[0]
        page.type(
            "xmpp-onion trust verify 'xmpp:alice@….onion?omemo-sid-123=487d…'",
            "bob",
            swap={"xmpp:alice@….onion?omemo-sid-123=487d…": uri},
        )
        listed = page.type("xmpp-onion trust list alice@….onion", "bob").out
        assert alice in listed
        assert "verified" in listed
        print_ = str(of_alice()[0]["fingerprint"])
        page.type(
            "xmpp-onion trust verify alice@….onion 487d1601 aff81211 a197fad5 …",
            "bob",
            swap={"487d1601 aff81211 a197fad5 …": print_},
        )
        page.type(
            "xmpp-onion --profile echo trust pin alice@….onion 487d1601 aff81211 …",
            "",
            swap={"echo": "carol", "487d1601 aff81211 …": print_},
        )
        page.type("xmpp-onion trust export > trust.txt", "bob")
        other = {"other": "dave"}
        page.type("xmpp-onion --profile other trust import trust.txt", "", swap=other)
        taken = page.type(
            "xmpp-onion --profile other trust import --yes trust.txt", "", swap=other
        )
        assert f"{alice} undecided -> verified" in taken.out
        page.type("xmpp-onion trust automatic off", "bob")

    password = (town.data / "alice" / "account.toml").read_text()
    (line,) = [each for each in password.splitlines() if each.startswith("password")]
    added = town.run(
        "--profile", "laptop", "account", "add", alice, "--password-file", "-",
        stdin=line.split('"')[1],
    )  # fmt: skip
    assert added.code == 0, added.err
    page.type('xmpp-onion devices label "old laptop"', "laptop")
    assert "old laptop" in page.type("xmpp-onion devices list", "laptop").out
    (number,) = [each["device"] for each in of_alice() if not each["this"]]
    page.type(
        "xmpp-onion devices remove 1617615314",
        "alice",
        swap={"1617615314": f"{number}{UNASKED}"},
    )

    assert page.not_typed == [
        # Asks at a terminal; tests/unit/cli/test_trust_compare.py answers.
        "xmpp-onion trust verify alice@….onion",
        # What `send` prints.
        (
            "  fix: Compare with the owner over another channel, then run `xmpp-onion "
            "trust verify …`."
        ),
        # One option of a command that has more.
        "xmpp-onion account add --trust …",
        # The device of somebody that was stolen: it would be of no use below.
        "xmpp-onion trust revoke YOUR-JID FINGERPRINT",
        "xmpp-onion trust verify …",
    ]


def test_move_to_a_new_machine(town: Town) -> None:
    page = Page(town, "move-to-a-new-machine")
    passphrase, key = town.folder / "passphrase", town.folder / "KEY"
    for file, text in (passphrase, b"six words\n"), (key, secrets.token_bytes(32)):
        file.touch(mode=0o600)
        file.write_bytes(text)
    exported = town.shell(
        "xmpp-onion export bob.account --new-passphrase-file passphrase", "bob"
    )
    assert exported.code == 0, exported.err

    moved = page.type(
        "xmpp-onion import bob.account",
        "moved",
        XMPP_ONION_PASSPHRASE_FILE=str(passphrase),
    )
    with page.runs("xmpp-onion listen", "moved", "--json") as listening:
        until(listening, "ready")
    (number,) = re.findall(r"devices remove (\d+)", moved.err)
    page.type(
        "xmpp-onion devices remove 12345", "moved", swap={"12345": number + UNASKED}
    )
    page.type("xmpp-onion export FILE --new-key-file KEY", "carol")
    page.type("xmpp-onion --key-file KEY import FILE", "again")

    assert page.not_typed == [
        # Asks for a passphrase at a terminal.
        "xmpp-onion export bob.account        # asks for a passphrase, twice",
    ]


def test_keep_an_agent(town: Town) -> None:
    page = Page(town, "keep-an-agent")
    group = grp.getgrgid(os.getgid()).gr_name
    to_dave = {"ops@": "dave@"}
    text = "echo disk full | xmpp-onion send ops@….onion"
    shared, token = town.folder / "alerts" / "agent.sock", town.folder / "token"
    shared.parent.mkdir(mode=0o750)
    units = town.folder / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    token.touch(mode=0o600)
    with town.runs("--profile", "dave", "listen", "--json") as of_dave:
        until(of_dave, "ready")
        page.type("xmpp-onion agent start --detach", "carol")
        try:
            page.type(text, "carol", swap=to_dave)
            assert until(of_dave, "message")["body"] == "disk full"
            talk = "xmpp-onion chat bob@….onion"
            page.type(talk, "carol", swap={"bob@": "dave@"}, stdin="still full?\n")
            assert until(of_dave, "message")["body"] == "still full?"
            assert "carol" in page.type("xmpp-onion agent status", "carol").out
        finally:
            page.type("xmpp-onion agent stop", "carol")
        page.type(
            "xmpp-onion agent unit > ~/.config/systemd/user/xmpp-onion-agent.service",
            "carol",
        )
        assert "ExecStart" in (units / "xmpp-onion-agent.service").read_text()
        added = page.type(
            "xmpp-onion agent token add disks --to ops@….onion    # prints it, once",
            "carol",
            swap=to_dave,
        )
        token.write_text(added.out)
        page.type(
            "xmpp-onion agent start --detach --share /srv/alerts/agent.sock "
            "--group monitor",
            "carol",
            swap={"/srv/alerts/agent.sock": str(shared), "monitor": group},
        )
        try:
            page.type(
                text,
                "nobody-of-us",
                swap=to_dave,
                XMPP_ONION_AGENT=str(shared),
                XMPP_ONION_TOKEN_FILE=str(token),
            )
            assert until(of_dave, "message")["body"] == "disk full"
            page.type("xmpp-onion agent token remove disks", "carol")
        finally:
            town.run("--profile", "carol", "agent", "stop")

    assert page.not_typed == []


def test_encrypt_the_store(town: Town) -> None:
    page = Page(town, "encrypt-the-store")
    key = town.folder / "ops.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(32))
    page.type(
        "xmpp-onion --profile ops account encrypt --key-file /media/stick/ops.key",
        "",
        swap={"--profile ops": "--profile mallory", "/media/stick/ops.key": str(key)},
    )

    assert page.not_typed == [
        # These ask for a passphrase at a terminal.
        "xmpp-onion account add --encrypt --invite 'xmpp:….onion?register;preauth=…'",
        "xmpp-onion account encrypt",
        # Nobody's bot is beside the page.
        "XMPP_ONION_KEY_FILE=/media/stick/ops.key xmpp-onion bot run bot.py",
        # A keyring belongs to a desktop.
        "xmpp-onion account keyring store     # and: account keyring forget",
        "xmpp-onion account passphrase",
    ]


def test_files(town: Town) -> None:
    page = Page(town, "files")
    to_dave = {"bob@": "dave@"}
    for name in ("holiday.jpg", "letter.pdf"):
        (town.folder / name).write_bytes(secrets.token_bytes(48_213))
    (town.folder / "photos").mkdir()
    with town.runs("--profile", "dave", "listen", "--json") as of_dave:
        until(of_dave, "ready")
        page.type(
            "xmpp-onion send bob@….onion --file holiday.jpg", "alice", swap=to_dave
        )
        (town.folder / "link").write_text(str(until(of_dave, "file")["url"]))
        page.type(
            "xmpp-onion download - -o photos/holiday.jpg < link    # or the link "
            "itself, in quotes",
            "dave",
        )
        page.type(
            "xmpp-onion send bob@….onion --file letter.pdf --pad",
            "alice",
            swap=to_dave,
        )
        assert until(of_dave, "file")["name"] == "letter.pdf"

    (saved,) = (town.folder / "photos").iterdir()
    assert saved.name == "holiday.jpg"
    assert saved.read_bytes() == (town.folder / "holiday.jpg").read_bytes()
    assert page.not_typed == []
