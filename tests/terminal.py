"""A terminal that can be looked at, with a program in it: a tmux of its own."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

__all__ = ["PATIENCE", "ROWS", "Terminal"]

TMUX = shutil.which("tmux") or "tmux"
# Seconds after which a screen that has not come is an error; never asserted otherwise.
PATIENCE = 120.0
ROWS = 24


class Terminal:
    """A program in a tmux of its own.

    Args:
        folder: For its socket, and the program's home.
        command: What runs in it.
        environment: What the program gets beside a path and a language.
        columns: How wide it is.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 80,
    ) -> None:
        self._socket = folder / "tmux"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PS1": "$ ",
            **environment,
        }
        self.tmux(
            # Whatever a program may ask of a terminal, this one is willing to do.
            "set-option", "-g", "history-limit", "200000", ";",
            "set-option", "-g", "remain-on-exit", "on", ";",
            "set-option", "-s", "set-clipboard", "on", ";",
            "set-option", "-g", "allow-rename", "on", ";",
            "set-option", "-g", "allow-passthrough", "on", ";",
            "new-session", "-d", "-x", str(columns), "-y", str(ROWS),
            *(part for each in environment.items() for part in ("-e", "=".join(each))),
            *command,
            start=True,
        )  # fmt: skip

    def tmux(self, *words: str, start: bool = False) -> str:
        """Run a command of tmux, and return what it prints."""
        done = subprocess.run(
            [
                TMUX,
                "-S",
                self._socket,
                *(["-f", os.devnull] if start else []),
                *words,
            ],
            capture_output=True,
            encoding="utf-8",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "screen"},
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout

    def type(self, *lines: str) -> None:
        """Type lines, and Enter behind each."""
        for line in lines:
            self.tmux("send-keys", "-l", f"{line}\r")

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them."""
        self.tmux("send-keys", *keys)

    @property
    def pid(self) -> int:
        """Of what was started in it."""
        return int(self.tmux("display-message", "-p", "#{pane_pid}"))

    @property
    def screen(self) -> str:
        """What is to be seen now."""
        return self.tmux("capture-pane", "-p")

    def until_seen(self, pattern: str) -> str:
        """Wait until the pattern is on the screen, and return what is to be seen."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if re.search(pattern, seen := self.screen, re.MULTILINE):
                return seen
            time.sleep(0.1)
        pytest.fail(f"{pattern} did not come: {seen}")

    def close(self) -> None:
        """Close it, as somebody closes a window."""
        self.tmux("kill-server")

    def rows(self) -> list[str]:
        """Return every row, from the first that was scrolled away to the last."""
        return self.tmux("capture-pane", "-p", "-S", "-").splitlines()

    def until(self, text: str) -> list[str]:
        """Wait until a row begins so, and return all of them."""
        return self.until_matching(re.escape(text))

    def until_matching(self, pattern: str) -> list[str]:
        """Wait until a row begins as the pattern says, and return all of them."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            seen = self.tmux("capture-pane", "-p")
            if any(re.match(pattern, row) for row in seen.splitlines()):
                return self.rows()
            time.sleep(0.1)
        pytest.fail(f"{pattern} did not come: {seen}")
