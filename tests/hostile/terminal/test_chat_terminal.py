"""`chat` in a real terminal, tmux, against strings that act or forge a line."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.terminal.strings import FORGED, STRINGS, SURROUNDED
from tests.terminal import ROWS, Terminal

ROOT = Path(__file__).resolve().parents[3]
STAGE = Path(__file__).with_name("stage.py")
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}
STAGED = [sys.executable, str(STAGE)]
SHELL = ["bash", "--norc", "--noprofile"]
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


@pytest.fixture(params=[80, 40])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    one = Terminal(tmp_path, STAGED, ENVIRONMENT, columns=request.param)
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
    terminal.until("TYPED 'still mine'")
    rows = terminal.until_matching(" alice")  # the last row is drawn behind it

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
    one = Terminal(tmp_path, SHELL, ENVIRONMENT)
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
