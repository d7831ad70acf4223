"""A terminal without a window: tmux, of which nobody's configuration is read."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from scripts.pictures.scene import SHELL, Screen

# Seconds after which something that has not come is an error.
_PATIENCE: Final = 180.0
_MANY_LINES: Final = 2000


class Terminal:
    """One screen of a scene.

    Args:
        screen: How large it is.
        socket: Of its tmux; a new file.
        environment: All that the shell in it has; what the caller has stays outside.
    """

    def __init__(
        self, screen: Screen, socket: Path, environment: dict[str, str]
    ) -> None:
        self._socket = socket
        words = [f"{name}={value}" for name, value in environment.items()]
        self._tmux(
            *("-f", os.devnull, "set-option", "-g", "history-limit", "5000", ";"),
            *("set-option", "-g", "default-terminal", "tmux-256color", ";"),
            *("new-session", "-d", "-c", environment["HOME"]),
            *("-x", str(screen.columns), "-y", str(screen.rows)),
            *("env", "-i", "TERM=tmux-256color", *words),
            *("bash", "--norc", "--noprofile", "+o", "history"),
        )
        self.wait_for(SHELL)

    def _tmux(self, *words: str) -> str:
        program = shutil.which("tmux") or "tmux"
        return subprocess.run(
            [program, "-u", "-S", self._socket, *words],
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout

    def type(self, text: str) -> None:
        """Type a text, and Enter."""
        self._tmux("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them."""
        self._tmux("send-keys", *keys)

    def wait_for(self, pattern: str) -> None:
        """Wait until a line of the screen matches, or the last one for the shell.

        Raises:
            SystemExit: None did, for a long time.
        """
        deadline = time.monotonic() + _PATIENCE
        text = ""
        while time.monotonic() < deadline:
            text = self.text().rstrip("\n")
            # `chat` folds long lines at blanks; a pattern need not know where.
            folded = re.sub(r"\s+(\| )?", " ", text)
            last = text.rpartition("\n")[2]
            seen = last if pattern == SHELL else f"{text}\n{folded}"
            if re.search(pattern, seen, re.MULTILINE):
                return
            time.sleep(0.2)
        raise SystemExit(f"{pattern} has not come:\n{text}")

    def text(self) -> str:
        """Return all that was written, each line whole."""
        return self._tmux("capture-pane", "-p", "-J", "-S", f"-{_MANY_LINES}")

    def colours(self) -> str:
        """Return what the screen shows, with the escapes that colour it."""
        return self._tmux("capture-pane", "-p", "-e", "-N")

    def close(self) -> None:
        """End it, with what runs in it."""
        self._tmux("kill-server")
