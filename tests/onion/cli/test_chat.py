"""A talk in a real terminal, over Tor."""

import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.onion.cli.conftest import PATIENCE, Person, World

pytestmark = pytest.mark.onion


class Terminal:
    """A program in a terminal of 24 lines, and all that it wrote there."""

    def __init__(self, world: World, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self.screen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "xmpp_onion", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=world.environment
            | {
                "TERM": "xterm-256color",
            },
        )
        os.close(slave)
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 4096)
            except OSError:  # the program has ended
                return
            if b"\x1b[6n" in data:  # where the cursor is: a terminal says it
                os.write(self.master, b"\x1b[1;1R")
            with self._news:
                self.screen += data.decode(errors="replace")
                self._news.notify_all()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def until(self, text: str) -> None:
        """Wait until it was written."""
        with self._news:
            came = self._news.wait_for(lambda: text in self.screen, PATIENCE)
        assert came, ascii(self.screen[-2000:])

    def end(self) -> int:
        """Press Ctrl-D until the program has ended, and return how it did.

        While a line is printed the terminal is not raw, and may swallow the key.
        """
        for _ in range(int(PATIENCE)):
            self.type("\x04")
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(1)
        raise AssertionError(ascii(self.screen[-2000:]))


@contextmanager
def terminal(world: World, *arguments: str) -> Iterator[Terminal]:
    shown = Terminal(world, *arguments)
    try:
        yield shown
    finally:
        shown.process.kill()
        shown.process.wait()
        os.close(shown.master)


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

    assert done.code == 0
    assert heard == ["one", "two"]
    assert "you: one" in done.out
    assert "! there is no command /nothing" in done.out


def test_chat_is_for_people(alice: Person) -> None:
    done = alice.run("--json", "chat")
    assert done.code == 2
    assert "listen --json" in done.out
