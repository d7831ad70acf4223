"""What a person sees of a server: on a terminal, on a plain one, and in a file."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from fcntl import ioctl

import pytest

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
PLAY = f"""
import logging, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xmpp_onion import OnionAddress
from xmpp_onion.cli.output import Output
from xmpp_onion.cli.server_view import open_view
from xmpp_onion.server import Health, Load, State

logging.basicConfig(format="%(message)s")
since = datetime.now(UTC) - timedelta(days=3, hours=5, minutes=7)
output = Output(as_json="--json" in sys.argv)
with open_view(
    output, OnionAddress("{ONION}"), fingerprint="ab" * 32, folder=Path("chat")
) as view:
    load = Load(3, 2, 1, "0.12.3", since)
    view.show(Health(State.UP, load), [])
    told = Health(State.UP, load, tells_circuits="--found" not in sys.argv)
    view.show(told, ["warn\\t\\x1b]0;owned\\x07" + "long " * 60] * 9)
    logging.warning("something was logged")
    view.show(Health(State.UNREACHABLE, load), [])
    view.show(Health(State.MENDING), [])
"""


def play(*arguments: str, columns: int = 80, rows: int = 24, **more: str) -> str:
    """Run PLAY on a terminal, and return what it printed there."""
    main, end = pty.openpty()
    ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **more}
    environment |= {"LANG": "C.UTF-8"}
    with subprocess.Popen(
        [sys.executable, "-c", PLAY, *arguments],
        stdin=end, stdout=end, stderr=end, env=environment,
    ) as process:  # fmt: skip
        os.close(end)
        shown = b""
        with suppress(OSError):  # the terminal is gone when the program is
            while part := os.read(main, 65536):
                shown += part
        os.close(main)
    assert process.returncode == 0, shown
    return shown.decode()


def bare(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n")


def test_a_terminal_has_a_picture_that_fits_it() -> None:
    shown = play()

    last = bare(shown).rpartition("onion  ")[2].splitlines()
    assert len(last) <= 24
    assert max(map(len, last)) <= 80
    assert ONION in bare(shown)
    assert "3 logged in" in bare(shown)
    assert "0.12.3 for 3 d 5 h" in bare(shown)
    assert "9 since the start" in bare(shown)
    assert "Prosody ended" in last[1]


def test_whether_limits_for_circuits_hold_is_shown() -> None:
    assert "for each guest's circuit" in bare(play())
    assert "none for circuits" in bare(play("--found"))


def test_what_is_logged_stands_above_the_picture() -> None:
    shown = bare(play())

    assert shown.index("something was logged") < shown.rindex(ONION)


def test_foreign_text_cannot_act_on_the_terminal() -> None:
    assert "\x1b]0;owned" not in play()
    assert "\\x1b]0;owned" in play()


def test_no_color_means_none() -> None:
    assert "\x1b[3" in play()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", play(NO_COLOR="1"))


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_terminal_has_all_labels_and_the_whole_name(columns: int) -> None:
    lines = bare(play(columns=columns)).splitlines()
    last = max(n for n, line in enumerate(lines) if line.startswith("onion "))
    shown = lines[last:]

    labels = [line.split("  ")[0] for line in shown if not line.startswith(" ")]
    assert labels[:7] == [
        "onion",
        "state", "Prosody", "people", "servers", "limits", "warnings",
    ]  # fmt: skip
    assert max(map(len, shown)) <= columns
    assert "".join(shown).replace(" ", "").startswith(f"onion{ONION}state")


def test_a_plain_terminal_has_a_line_for_each_change() -> None:
    lines = play(TERM="dumb").splitlines()

    assert lines[0] == f"{ONION} is up."
    assert lines[-2:] == [
        "Tor is away; published again when it is back.",
        "Prosody ended, and is started again.",
    ]
    assert sum(line.startswith("Prosody: warn") for line in lines) == 9


def test_a_program_has_a_line_of_json_for_each_change() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAY, "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    lines = done.stdout.splitlines()
    assert [line[:40].split('"')[5] for line in lines] == ["server", *["status"] * 4]
    assert '"warnings": 9' in lines[2]
    assert f'"onion": "{ONION}"' in lines[2]
