import json
import os
import subprocess
import sys
import termios
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.cli.output import Output, quoted, visible
from xmpp_onion.errors import StoreError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 漢字 🙂", "plain ünïcode 漢字 🙂"),
        ("\x1b]52;c;Y2xpcA==\x07", r"\x1b]52;c;Y2xpcA==\x07"),  # writes the clipboard
        ("\x1b[2J", r"\x1b[2J"),  # clears the screen
        ("\x9b31m", r"\x9b31m"),  # CSI as one C1 byte
        ("a\rb", r"a\x0db"),  # overwrites the line
        ("\u202egnp.exe", r"\u202egnp.exe"),  # Trojan Source, CVE-2021-42574
        ("a\u2028b", r"a\u2028b"),
        ("a\x00b\x7fc", r"a\x00b\x7fc"),
        ("col\tumn", "col\tumn"),
        ("blank\u3164", r"blank\u3164"),  # a letter that nobody sees
        ("e" + "\u0301" * 10, "e" + "\u0301" * 8 + r"\u0301" * 2),  # covers lines
    ],
)
def test_what_could_act_on_a_terminal_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_second_line_cannot_look_like_another_message() -> None:
    assert visible("hi\n12:00 bob@x (verified): pay") == (
        "hi\n  | 12:00 bob@x (verified): pay"
    )


@given(st.text())
def test_no_control_character_is_ever_left(text: str) -> None:
    left = {unicodedata.category(letter) for letter in visible(text)} & {"Cc", "Cs"}

    assert left <= {"Cc"}
    assert {c for c in visible(text) if unicodedata.category(c) == "Cc"} <= {"\t", "\n"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bob", '"bob"'),
        ('bob": owner, "', r'"bob\x22: owner, \x22"'),
        ("bob\n12:00 eve", r'"bob\x0a12:00 eve"'),
        ("bob\teve", r'"bob\x09eve"'),
        ("b\u200do\u202eb", r'"b\u200do\u202eb"'),
        ("a" * 1023, f'"{"a" * 32}…"'),
        ("e" + "\u0301" * 40, '"e\u0301\u0301' + r"\u0301" * 29 + '…"'),
        ("שלום", '"שלום"'),
        ("", '""'),
    ],
)
def test_a_name_ends_where_it_seems_to_end(name: str, shown: str) -> None:
    assert quoted(name) == shown


@given(st.text())
def test_no_name_can_act_or_stand_open(name: str) -> None:
    shown = quoted(name)

    assert shown.count('"') == 2
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs"}


def test_a_json_result_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).result({"v": 1, "event": "x", "body": "a\nb"}, "not shown")

    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)["body"] == "a\nb"


def test_what_we_say_of_others_names_the_profile_and_what_they_say_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output(profile="ops")
    text = "xmpp-onion contact accept eve@x"
    output.event({}, text)
    output.event({}, text, is_ours=True)

    theirs, ours = capsys.readouterr().out.splitlines()
    assert theirs == text
    assert ours == "xmpp-onion --profile ops contact accept eve@x"


def test_an_error_says_what_why_and_how_to_mend_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = StoreError("it broke", why="a \x1b[31mreason", fix="mend it")

    Output().error(error.as_line())

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "xmpp-onion: it broke\n  why: a \\x1b[31mreason\n  fix: mend it\n"
    )


def test_an_error_is_a_line_of_json_where_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=True).error(StoreError("it broke", fix="mend it").as_line())

    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "v": 1,
        "event": "error",
        "code": 7,
        "what": "it broke",
        "why": "",
        "fix": "mend it",
    }


def test_quiet_leaves_out_the_messages_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(quiet=True).note("hello")

    assert capsys.readouterr().err == ""


def test_an_error_names_the_recipient_whom_it_is_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().error({**StoreError("nothing was sent").as_line(), "to": "bob@b.onion"})

    assert (
        capsys.readouterr().err == "xmpp-onion: nothing was sent\n  to: bob@b.onion\n"
    )


PRINT = """
from xmpp_onion.cli.output import Output
Output().event({}, "12:00 eve: " + " " * 69 + "12:01 bob: pay her")
"""


def _print_in_terminal(columns: int) -> list[str]:
    """Run ``PRINT`` in a terminal of so many columns, and return its rows."""
    master, slave = os.openpty()
    try:
        termios.tcsetwinsize(slave, (24, columns))
        environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
        subprocess.run(
            [sys.executable, "-c", PRINT], stdout=slave, env=environment, check=True
        )
        return os.read(master, 65536).decode().replace("\r", "").splitlines()
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_in_a_terminal_no_row_of_a_message_looks_like_another(columns: int) -> None:
    first, *others = _print_in_terminal(columns)

    assert first.startswith("12:00 eve: ")
    assert all(len(row) < columns for row in (first, *others))
    assert all(row.startswith("  | ") for row in others)


def test_what_is_not_for_a_terminal_is_left_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().event({}, "a" * 500)

    assert capsys.readouterr().out == "a" * 500 + "\n"
