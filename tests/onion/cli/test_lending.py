"""A person chats beside an agent that runs, over Tor; alerts go on meanwhile."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.onion.cli.conftest import PATIENCE, Person, World
from tests.onion.cli.terminals import Terminal, terminal

pytestmark = pytest.mark.onion


def status(person: Person) -> dict[str, object]:
    (line,) = person.run("agent", "status", "--json").lines
    return line


def until_back(person: Person) -> None:
    """Wait until the agent has the account again, and is logged in."""
    for _ in range(int(PATIENCE)):
        line = status(person)
        if line["state"] == "connected" and not line["lent"]:
            return
        time.sleep(1)
    raise AssertionError(line)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Hears what a service says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture
def lender(world: World, systemd: socket.socket) -> Iterator[Person]:
    """Somebody whose agent runs in the background, as a service."""
    lena = world.people.get("lena") or world.enrol("lena")
    world.people["lena"] = lena
    started = world.run(
        "--profile", "lena", "agent", "start", "--detach",
        NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="20000000",
    )  # fmt: skip
    assert started.code == 0
    yield lena
    assert lena.run("agent", "stop").code == 0


def test_a_talk_beside_an_agent_and_alerts_beside_both(
    world: World, lender: Person, bob: Person, systemd: socket.socket
) -> None:
    def alert(text: str) -> None:
        done = lender.run("send", bob.jid, "-m", text, "--json")
        assert (done.code, done.lines[0]["state"]) == (0, "acked")

    def talk_to_bob(shown: Terminal, text: str) -> None:
        shown.type(f"{text}\r")
        assert heard() == text
        shown.until(f"you: {text}")

    with bob.runs("--json", "listen") as listening:
        assert listening.line()["event"] == "ready"

        def heard() -> object:
            while (line := listening.line())["event"] != "message":
                pass
            return line["body"]

        alert("one")
        assert heard() == "one"
        # What came while nobody read is in the talk, and what comes now.
        bob.run("send", lender.jid, "-m", "before the talk")
        with terminal(world, "--profile", "lena", "chat", bob.jid) as shown:
            talk_to_bob(shown, "from the talk")
            shown.until("before the talk")
            line = status(lender)
            lent = line["lent"]
            assert isinstance(lent, dict)
            assert (lent["to"], lent["pid"]) == ("chat", shown.process.pid)
            assert line["agent"] is True
            is_lent = f"STATUS=lent to chat, process {shown.process.pid}"
            for word in (is_lent, f"WATCHDOG=1\n{is_lent}"):
                while systemd.recv(4096).decode() != word:
                    pass
            alert("two")
            assert heard() == "two"
            second = lender.run("chat", bob.jid, stdin="no\n")
            assert second.code == 7
            assert shown.end() == 0
        alert("three")  # right behind it: it waits for the login
        assert heard() == "three"
        until_back(lender)

        with terminal(world, "--profile", "lena", "chat", bob.jid) as shown:
            talk_to_bob(shown, "once more")
            assert "before the talk" not in shown.screen
            shown.process.send_signal(signal.SIGKILL)
        alert("four")
        assert heard() == "four"
        until_back(lender)

        piped = lender.run("chat", bob.jid, stdin="from a pipe\n")
        assert piped.code == 0
        assert heard() == "from a pipe"
        until_back(lender)


def test_a_talk_goes_on_without_its_agent(
    world: World, lender: Person, bob: Person
) -> None:
    def heard() -> object:
        while (line := listening.line())["event"] != "message":
            pass
        return line["body"]

    with (
        bob.runs("--json", "listen") as listening,
        terminal(world, "--profile", "lena", "chat", bob.jid) as shown,
    ):
        assert listening.line()["event"] == "ready"
        shown.type("here\r")
        assert heard() == "here"
        stopped = lender.run("agent", "stop", "--json")
        (line,) = stopped.lines
        assert (stopped.code, line["state"]) == (0, "stopped")
        assert isinstance(line["lent"], dict)
        assert line["lent"]["pid"] == shown.process.pid
        assert status(lender)["agent"] is False
        shown.type("still here\r")
        assert heard() == "still here"
        assert shown.end() == 0
    assert lender.run("agent", "status").code == 7
