"""A terminal, for programs that want one."""

import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.onion.cli.conftest import PATIENCE, World


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
