"""`chat` in a real terminal, tmux, against strings that act or forge a line."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.terminal.strings import FORGED, STRINGS, SURROUNDED

ROOT = Path(__file__).resolve().parents[3]
STAGE = Path(__file__).with_name("stage.py")
TMUX = shutil.which("tmux") or "tmux"
STAGED = [sys.executable, str(STAGE)]
SHELL = ["bash", "--norc", "--noprofile"]
# Seconds after which a screen that has not come is an error; never asserted otherwise.
PATIENCE = 120.0

ROWS = 24
# How a row begins that says who says something; the rest is under its mark.
HEAD = re.compile(r"#\d+( |$)|\d\d:\d\d( |$)")
# A screen keeps no blanks at the end of a row.
MARK = "  |"
# Of the terminal: what nothing that comes may change.
STATE = (
    "#{pane_title} #{window_name} #{alternate_on} #{cursor_flag} #{insert_flag} "
    "#{keypad_flag} #{mouse_any_flag} #{origin_flag} #{wrap_flag} "
    "#{scroll_region_upper} #{scroll_region_lower} #{pane_width} #{pane_height} "
    "#{window_bell_flag} #{pane_in_mode}"
)


class Terminal:
    """The stage in a tmux of its own."""

    def __init__(self, folder: Path, columns: int, *, in_shell: bool = False) -> None:
        self._socket = folder / "tmux"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONPATH": str(ROOT),
            "PS1": "$ ",
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
            *(SHELL if in_shell else STAGED),
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


@pytest.fixture(params=[80, 40])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    one = Terminal(tmp_path, request.param)
    try:
        yield one
    finally:
        one.tmux("kill-server")


def test_nothing_that_comes_acts_or_looks_like_another_line(terminal: Terminal) -> None:
    assert len(set(STRINGS)) >= 500
    terminal.until("bob@")
    before = terminal.tmux("display-message", "-p", STATE)

    terminal.tmux("send-keys", "-l", "begin\r")
    terminal.until("THE END")
    terminal.tmux("send-keys", "-l", "still mine\r")
    rows = terminal.until("TYPED 'still mine'")

    begun = rows.index(next(row for row in rows if HEAD.match(row)))
    shown = rows[begun : rows.index("THE END")]
    heads = [row for row in shown if not row.startswith(MARK)]
    # Each that came has one row that says who, and no other row seems to say that.
    assert [row for row in heads if not HEAD.match(row)] == []
    assert len(heads) == len(STRINGS) + 5 * len(SURROUNDED)
    numbers = [row.split()[0] for row in heads if row.startswith("#")]
    assert numbers[: len(STRINGS)] == [f"#{n + 1}" for n in range(len(STRINGS))]
    assert not [row for row in heads if row.startswith(FORGED)]
    # The terminal is as it was, and has told nobody anything.
    assert terminal.tmux("display-message", "-p", STATE) == before
    assert terminal.tmux("list-buffers") == ""
    last = [row for row in rows if row.strip()][-2:]
    assert re.match(r"bob@.*> *$", last[0]), last
    assert re.match(r" alice(@\S+)? \| connected \| .*", last[1]), last


def test_a_line_of_ours_is_marked_where_it_stands_until_it_has_scrolled_away(
    terminal: Terminal,
) -> None:
    terminal.until("bob@")
    terminal.tmux("send-keys", "-l", "say the first\rsay the second\r")
    terminal.until("#2 ")
    terminal.tmux("send-keys", "-l", "receipt 1 displayed\rreceipt 2 received\r")
    rows = terminal.until_matching(r"#2 \d\d:\d\d ✓✓ +you: the second")
    assert [row for row in rows if re.match(r"#1 \d\d:\d\d ✓✓✓  you: the first", row)]

    for _ in range(ROWS):
        terminal.tmux("send-keys", "-l", "x\r")
    terminal.tmux("send-keys", "-l", "receipt 2 displayed\r")
    rows = terminal.until("✓✓✓ displayed: #2 the second")
    assert sum("the second" in row for row in rows) == 2
    assert sum(row == "TYPED 'x'" for row in rows) == ROWS


def test_a_window_that_changes_its_size_keeps_every_line(terminal: Terminal) -> None:
    terminal.until("bob@")
    terminal.tmux("send-keys", "-l", "say the first\r")
    terminal.until("#1 ")
    for columns in (20, 61, 40):
        terminal.tmux("resize-window", "-x", str(columns), "-y", "20")
        terminal.tmux("send-keys", "-l", f"{columns}\r")
        terminal.until(f"TYPED '{columns}'")
    terminal.tmux("send-keys", "-l", "receipt 1 displayed\r")
    rows = terminal.until("✓✓✓ displayed: #1 the first")
    assert [row for row in rows if row.startswith("TYPED ")] == [
        "TYPED '20'",
        "TYPED '61'",
        "TYPED '40'",
    ]


def test_ctrl_z_gives_the_terminal_back_and_fg_goes_on(tmp_path: Path) -> None:
    one = Terminal(tmp_path, 80, in_shell=True)
    try:
        one.until("$")
        one.tmux("send-keys", "-l", f"{sys.executable} {STAGE}\r")
        one.until("bob@")
        one.tmux("send-keys", "-l", "say the first\r")
        one.until("#1 ")
        one.tmux("send-keys", "C-z")
        one.until_matching(r".*(Stopped|suspended)")
        one.tmux("send-keys", "-l", "echo between; fg\r")
        one.until("between")
        one.tmux("send-keys", "-l", "on\r")
        one.until("TYPED 'on'")
        one.tmux("send-keys", "-l", "receipt 1 received\r")
        rows = one.until("✓✓ received: #1 the first")
    finally:
        one.tmux("kill-server")
    assert "between" in rows
