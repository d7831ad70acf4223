"""A person chats beside an agent that runs, over Tor; alerts go on meanwhile."""

import signal
import time
from collections.abc import Iterator

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
def lender(world: World) -> Iterator[Person]:
    """Somebody whose agent runs in the background."""
    lena = world.people.get("lena") or world.enrol("lena")
    world.people["lena"] = lena
    assert lena.run("agent", "start", "--detach", "--json").code == 0
    yield lena
    assert lena.run("agent", "stop").code == 0


def test_a_talk_beside_an_agent_and_alerts_beside_both(
    world: World, lender: Person, bob: Person
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
