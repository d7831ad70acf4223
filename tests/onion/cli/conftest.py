"""One onion server and three people, all made by the command line."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from xmpp_onion import JID, Account
from xmpp_onion.testing import TorNetwork
from xmpp_onion.testing.ports import free_ports

# Seconds after which a line that has not come is an error; never asserted otherwise.
# Longer than any command waits by itself, 180 for a login and 120 for an ack: one that
# has had a bad circuit on a busy machine succeeds, or says why it did not.
PATIENCE = 330.0
# Well formed, and of no service.
NOBODY = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, object]]:
        """What it printed, as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Running:
    """A command that goes on, and its lines as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.err: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._read_out, daemon=True),
            threading.Thread(target=self._read_err, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
            if self._enough.is_set():
                break
        self._lines.put("")
        self.process.stdout.close()

    def close_after_line(self) -> None:
        """Stop reading its output once the next line has come."""
        self._enough.set()
        self.text()
        self._threads[0].join(PATIENCE)

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        self.err.extend(self.process.stderr)

    def text(self) -> str:
        """Return the next line; empty at the end of its output."""
        try:
            return self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no line came; stderr: {self.err}") from None

    def line(self) -> dict[str, object]:
        """Return the next line of ``--json``."""
        text = self.text()
        assert text, f"it ended; stderr: {self.err}"
        value: dict[str, object] = json.loads(text)
        return value

    def end(self, number: signal.Signals = signal.SIGTERM) -> Done:
        """Send a signal, and return how it ended."""
        self.process.send_signal(number)
        return self.wait()

    def stop(self) -> None:
        """Tell it to end, unless it has; kill it if it does not."""
        try:
            if self.process.poll() is None:
                self.end()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait()

    def wait(self) -> Done:
        """Return how it ended by itself."""
        code = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        rest = []
        while not self._lines.empty():
            rest.append(self._lines.get())
        return Done(code, "".join(rest), "".join(self.err))


@dataclass(frozen=True)
class Person:
    """Somebody with a profile: a command line that is theirs."""

    world: "World"
    profile: str
    jid: str
    fingerprint: str

    def run(self, *arguments: str, stdin: str = "") -> Done:
        """Run a command as this person."""
        return self.world.run("--profile", self.profile, *arguments, stdin=stdin)

    @contextmanager
    def runs(self, *arguments: str) -> Iterator[Running]:
        """Start a command as this person; it has ended when the block has."""
        with self.world.runs("--profile", self.profile, *arguments) as running:
            yield running

    @property
    def folder(self) -> Path:
        """Where the account lies."""
        return self.world.data / self.profile

    @property
    def password(self) -> str:
        """What nobody may ever see."""
        (line,) = [
            one
            for one in (self.folder / "account.toml").read_text().splitlines()
            if one.startswith("password")
        ]
        return line.split('"')[1]


@dataclass
class World:
    """The data folder, the server's folder, and Tor."""

    network: TorNetwork
    folder: Path
    onion: str = ""
    stuck: Running | None = None
    people: dict[str, Person] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Where profiles live."""
        return self.folder / "data"

    @property
    def server(self) -> Path:
        """The server's folder."""
        return self.folder / "server"

    @property
    def environment(self) -> dict[str, str]:
        """What every command gets; nothing of who runs the tests."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "XMPP_ONION_DATA_DIR": str(self.data),
            "XMPP_ONION_SOCKS": self.network.socks,
        }

    def run(self, *arguments: str, stdin: str = "", **more: str) -> Done:
        """Run ``xmpp-onion``."""
        return self.python("-m", "xmpp_onion", *arguments, stdin=stdin, **more)

    def python(self, *arguments: str, stdin: str = "", **more: str) -> Done:
        """Run Python with the environment of a command."""
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
            timeout=PATIENCE,
            env=self.environment | more,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def runs(
        self,
        *arguments: str,
        program: Sequence[str] = ("-m", "xmpp_onion"),
        **more: str,
    ) -> Iterator[Running]:
        """Start ``xmpp-onion``; it has ended when the block has."""
        with subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | more,
        ) as process:
            running = Running(process)
            try:
                yield running
            finally:
                # Told to end, it leaves no session behind that waits to be resumed,
                # which would take the messages of the next one.
                running.stop()
        assert not [line for line in running.err if "Traceback" in line], running.err

    @property
    def service(self) -> tuple[str, ...]:
        """The options that publish a server."""
        net = self.network
        return ("--socks", net.service_socks, "--control", net.service_control)

    def invite(self, *options: str) -> str:
        """Return a new invite."""
        done = self.run("server", "invite", str(self.server), *options, "--json")
        assert done.code == 0, done.err
        return str(done.lines[0]["uri"])

    def enrol(self, profile: str, *options: str) -> Person:
        """Make an account by invite, in a profile of that name."""
        done = self.run(
            "--profile", profile, "account", "add", "--invite", self.invite(),
            "--username", profile, *options, "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        (line,) = done.lines
        return Person(self, profile, str(line["jid"]), str(line["fingerprint"]))


@contextmanager
def stuck_tor(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a tor whose network has died out; yield its SOCKS and control port."""
    socks, control = (f"127.0.0.1:{port}" for port in free_ports(2))
    torrc = folder / "torrc"
    torrc.write_text(
        f"SocksPort {socks}\nControlPort {control}\nCookieAuthentication 1\n"
        f"DataDirectory {folder / 'data'}\nTestingTorNetwork 1\n"
        f"DirAuthority dead orport=1 v3ident={'A' * 40} 127.0.0.1:1 {'B' * 40}\n"
    )
    program = shutil.which("tor")
    assert program is not None, "tor is not installed"
    with subprocess.Popen(
        [program, "-f", str(torrc), "--defaults-torrc", os.devnull, "--quiet"]
    ) as tor:
        try:
            yield socks, control
        finally:
            tor.terminate()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(
    tor_network: TorNetwork, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A server that is up, and alice, bob and carol with an account each.

    Carol's policy is ``manual``, the others' is the default. Beside it, a ``send``
    waits for a Tor that is stuck: it takes 45 seconds to see that.
    """
    made = World(tor_network, tmp_path_factory.mktemp("cli"))
    made.data.mkdir(mode=0o700)
    jid = JID(f"x@{NOBODY}")
    folder = made.data / "stuck"
    Account(profile="stuck", folder=folder, jid=jid, password="x").save()
    with (
        stuck_tor(tmp_path_factory.mktemp("stuck")) as (socks, control),
        made.runs(
            "--profile", "stuck", "--socks", socks, "--control", control,
            "send", jid, "-m", "hi", "--json",
        ) as made.stuck,
        made.runs(*made.service, "server", "up", str(made.server), "--json") as up,
    ):  # fmt: skip
        made.onion = str(up.line()["onion"])
        for name in ("alice", "bob"):
            made.people[name] = made.enrol(name)
        made.people["carol"] = made.enrol("carol", "--trust", "manual")
        yield made
        assert up.end().code == 0


@pytest.fixture
def alice(world: World) -> Person:
    return world.people["alice"]


@pytest.fixture
def bob(world: World) -> Person:
    return world.people["bob"]


@pytest.fixture
def carol(world: World) -> Person:
    return world.people["carol"]
