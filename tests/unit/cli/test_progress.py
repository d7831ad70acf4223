"""What a person sees: on a terminal, on a narrow or plain one, and in a file."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from fcntl import ioctl

import pytest

from xmpp_onion import JID, Attachment, Message
from xmpp_onion.cli.output import Output
from xmpp_onion.cli.progress import Steps

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
PLAY = f"""
import sys
from datetime import UTC, datetime
from xmpp_onion import JID, Message
from xmpp_onion.cli.output import Output
from xmpp_onion.cli.progress import Steps, show_progress

message = Message(
    id="1", sender=JID("alice@{ONION}"), to=JID("bob@{ONION}"),
    text="hi \\x1b]0;owned\\x07", namespace="n", device=1, fingerprint="ab" * 32,
    trust="verified", at=datetime.now(UTC),
)
with show_progress("Tor") as update:
    update("loading", 0.5)
with Steps(Output()) as steps:
    with steps.step("A private Tor network on loopback") as step:
        step.update("voting", 0.4)
        step.done({{"event": "tor"}}, "ready")
    steps.say(message)
    steps.finish()
    try:
        with steps.step("Something that fails"):
            raise ValueError
    except ValueError:
        pass
"""


def on_a_terminal(*, columns: int, **environment: str) -> str:
    """Play it on a terminal and return everything that was written there."""
    screen, end = pty.openpty()
    ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}
    with subprocess.Popen(
        [sys.executable, "-c", PLAY],
        stdin=end,
        stdout=end,
        stderr=end,
        env=env | environment,
    ) as process:
        os.close(end)
        written = b""
        with suppress(OSError):  # EIO: the other end is closed
            while part := os.read(screen, 4096):
                written += part
    os.close(screen)
    assert process.returncode == 0, written
    return written.decode()


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_on_a_terminal_it_is_drawn_and_foreign_text_is_harmless(columns: int) -> None:
    written = on_a_terminal(columns=columns)

    assert "\x1b[" in written
    assert "✓" in written
    assert "\x1b]" not in written  # the escape of the message: shown, never sent
    assert "owned" in written


def test_without_colour_there_is_none() -> None:
    written = on_a_terminal(columns=80, NO_COLOR="1")

    colours = re.findall(r"\x1b\[[0-9;]*m", written)
    assert [one for one in colours if re.search(r"[34][0-7]", one)] == []


def test_on_a_dumb_terminal_nothing_moves_the_cursor() -> None:
    written = on_a_terminal(columns=80, TERM="dumb")

    assert "\x1b[" not in written.replace("\x1b[?25h", "")
    assert "A private Tor network on loopback" in written


def test_in_a_file_each_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps(Output()) as steps:
        with steps.step("One") as step:
            step.update("half way", 0.5)
            step.done({"event": "one"}, "done")
        steps.say(make_message("line one\nline two"))
        steps.finish()

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "\x1b" not in shown.err
    first, second, third, *_ = shown.err.splitlines()
    assert re.fullmatch(r"One: \d+\.\d s done", first)
    assert second == "alice → bob: line one"
    assert third.startswith("  | line two")


def test_rooms_and_files_are_named_and_a_link_with_its_key_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    room = JID(f"friends@muc.{ONION}")
    file = Attachment(url="aesgcm://secret", name="a\nb\x1b.txt")
    with Steps(Output()) as steps:
        steps.say(replace(make_message("hi"), room=room, to=room))
        steps.say(replace(make_message(file.url), attachment=file))
        steps.finish()

    first, second, third, *_ = capsys.readouterr().err.splitlines()
    assert first == "alice → friends: hi  (verified)"
    assert second == "alice → bob: [file: a"
    assert third == "  | b\\x1b.txt]  (verified)"


def test_with_json_there_are_lines_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps(Output(as_json=True)) as steps:
        with steps.step("One") as step:
            step.done({"event": "one"})
        steps.say(make_message("hi"))
        steps.finish()

    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.count("\n") == 3
    assert '"via": "onion"' in shown.out


def make_message(text: str) -> Message:
    return Message(
        id="1",
        sender=JID(f"alice@{ONION}"),
        to=JID(f"bob@{ONION}"),
        text=text,
        namespace="n",
        device=1,
        fingerprint="ab" * 32,
        trust="verified",
        at=datetime.now(UTC),
    )
