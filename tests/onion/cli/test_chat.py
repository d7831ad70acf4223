"""A talk in a real terminal, over Tor."""

import pytest

from tests.onion.cli.conftest import Person, World
from tests.onion.cli.terminals import terminal

pytestmark = pytest.mark.onion


def test_a_person_talks_in_a_terminal(world: World, alice: Person) -> None:
    # Nobody decided about her device yet, in whatever order the tests ran.
    dora = world.enrol("dora")
    with (
        dora.runs("--json", "listen") as listening,
        terminal(world, "--profile", "alice", "chat", dora.jid) as shown,
    ):
        assert listening.line()["event"] == "ready"
        # Typed before there is a connection: it goes out when there is one.
        shown.until("connecting")
        shown.type("hello from a terminal\r")
        heard = listening.line()
        assert (heard["event"], heard["body"]) == ("message", "hello from a terminal")
        shown.until("you: hello from a terminal")
        shown.until("connected")

        dora.run("send", alice.jid, "-m", "an answer\x1b]0;title\x07")
        # What XML cannot carry does not get into the envelope of urn:xmpp:omemo:2.
        shown.until("dora (tofu): an answer\ufffd]0;title\ufffd")
        assert "\x1b]0;title" not in shown.screen
        shown.type("/nothing\r")
        shown.until("! there is no command /nothing")
        assert shown.end() == 0
    assert "Traceback" not in shown.screen


def test_a_pipe_is_talked_through(alice: Person, bob: Person) -> None:
    with bob.runs("--json", "listen") as listening:
        assert listening.line()["event"] == "ready"
        done = alice.run("chat", bob.jid, stdin="one\n/nothing\ntwo\n")
        heard = [listening.line()["body"] for _ in range(2)]

    assert done.code == 2  # of the line that is no command
    assert heard == ["one", "two"]
    assert "you: one" in done.out
    assert "! there is no command /nothing" in done.out


def test_a_pipe_that_said_nothing_does_not_end_well(alice: Person) -> None:
    to_nobody = alice.run("chat", stdin="hello\n")
    unknown = alice.run(
        "chat", f"nobody@{alice.jid.partition('@')[2]}", stdin="hello\n"
    )

    assert to_nobody.code == 2
    assert unknown.code == 4
    assert "Not sent: hello" in unknown.out


def test_chat_is_for_people(alice: Person) -> None:
    done = alice.run("--json", "chat")
    assert done.code == 2
    assert "listen --json" in done.out
