"""H1: whatever a stranger calls a file, it is one plain, visible file in one folder."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.files.names import numbered, safe_name

_UP = [
    "..",
    "../..",
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "a/../../b",
    "/etc/passwd",
]
_ABSOLUTE = [
    "/",
    "//",
    "/root/.ssh/id",
    "C:\\Windows\\x.dll",
    "\\\\host\\share\\x",
    "C:x",
]
_HIDDEN = [
    ".bashrc",
    "...profile",
    ".",
    "..",
    "-rf",
    "--output",
    "~",
    "~/.ssh",
    " .x",
    ".-x",
]
_DEVICES = [
    "con",
    "PRN.txt",
    "aux",
    "NUL",
    "com1",
    "COM9.log",
    "lpt1",
    "lpt\u00b9.txt",
    "conin$",
    "CLOCK$",
    "nul.",
    "con .txt",
    "Aux.tar.gz",
    "com0",
]
_INVISIBLE = [
    "a\x00b",
    "a\nb",
    "a\rb",
    "\x1b[31mred",
    "photo\u202egpj.exe",
    "a\u200bb",
    "a\u2028b",
    "\ufeffx",
    "a\x7fb",
    "\u2066x\u2069",
    "a\x85b",
    "\ud800x",
    "a\u00adb",
    "\ue000x",
    "\U000e0041x",
    "tab\tx",
]
_LONG = [
    "x" * 300,
    "x" * 300 + ".png",
    "\u00e9" * 300,
    "\U0001f600" * 200 + ".gif",
    "x." + "y" * 300,
    "." * 300,
    "a" * 100_000,
    "x" * 254 + ".tar.gz",
]
_SLASHES = [
    "a\u2044b",
    "a\u2215b",
    "a\uff0fb",
    "a\uff3cb",
    "a\u29f8b",
    "a//b",
    "a/b/",
    "a\\",
]
_ENDS = ["x.", "x..", "x ", "x. .", " x", "x .", "\u3000x", "x\u00a0"]
_SHELL = [
    "$(reboot)",
    "`id`",
    "a;b",
    "a|b",
    "a&b",
    "a>b",
    "a<b",
    'a"b',
    "a*b",
    "a?b",
    "a:b",
    "file:stream",
    "$HOME",
    "%2e%2e%2f",
    "a'b",
    "{a,b}",
    "!!",
    "#x",
]
_EMPTY = ["", " ", "\u200b", "\x00", "////", "\\", ". .", "\u202e"]
_PLAIN = [
    "photo.jpg",
    "Bericht 7 (neu).pdf",
    "\u0441\u043b\u043e\u0432\u043e.txt",
    "\u5199\u771f.png",
    "archive.tar.gz",
    "noending",
    "e\u0301.txt",
]
_MORE = [
    "a/.hidden",
    "x/con",
    "\u202e.exe",
    ".\u200b.",
    "..\u200b/..",
    "\uff0e\uff0e/x",
    "a\x00/../b",
    "desktop.ini",
    "Thumbs.db",
    "x" * 199 + ".é",
    "..jpg",
    "x/../con.png",
    "/dev/null",
    "/proc/self/mem",
    "\\\\.\\COM1",
    "\\\\?\\C:\\x",
    "C:\\CON",
    "....//....//x",
    "..;/x",
    "..%c0%afx",
    "com\u00b2.log",
    "lpt9 .tar.gz",
    "conout$.txt",
    "\u202d\u202e..\u202c/x",
    "\ufe68x\u2216y",
    "x\u2060.sh",
    "\ufff9a\ufffb",
    "-",
    "~root",
    "x" * 200 + ". ",
    "\u0301",
    "e" + "\u0301" * 300,
]
HOSTILE = [
    *_UP,
    *_ABSOLUTE,
    *_HIDDEN,
    *_DEVICES,
    *_INVISIBLE,
    *_LONG,
    *_SLASHES,
    *_ENDS,
    *_SHELL,
    *_EMPTY,
    *_PLAIN,
    *_MORE,
]


DEVICES = {"con", "prn", "aux", "nul", "com1", "com9", "lpt1", "conin$", "clock$"}


def is_safe(name: str) -> bool:
    return (
        0 < len(name.encode()) <= 200
        and Path(name).name == name
        and name[0] not in ".-~ "
        and name[-1] not in ". "
        and not set(name) & set('/\\<>:"|?*`$;&')
        and all(unicodedata.category(each)[0] != "C" for each in name)
        and name.split(".", maxsplit=1)[0].strip().lower()
        not in {"con", "prn", "aux", "nul", "com1"}
    )


def test_there_are_enough_names() -> None:
    assert len(set(HOSTILE)) >= 120


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_cannot_leave_its_folder_hide_or_act(name: str, tmp_path: Path) -> None:
    safe = safe_name(name)

    assert is_safe(safe), ascii(safe)
    (tmp_path / safe).write_bytes(b"")
    assert [each.name for each in tmp_path.iterdir()] == [safe]


@given(st.text())
def test_every_text_makes_a_safe_name_that_stays_as_it_is(name: str) -> None:
    safe = safe_name(name)

    assert is_safe(safe), ascii(safe)
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("e\u0301.txt", "\u00e9.txt"),
        (".bashrc", "bashrc"),
        ("", "file"),
        ("x" * 300 + ".tar", "x" * 196 + ".tar"),
        ("NUL.txt", "_NUL.txt"),
    ],
    ids=ascii,
)
def test_what_is_left_of_a_name_is_what_a_person_would_expect(
    name: str, safe: str
) -> None:
    assert safe_name(name) == safe


def test_a_second_file_of_a_name_keeps_its_ending() -> None:
    assert numbered("photo.jpg", 1) == "photo.jpg"
    assert numbered("photo.jpg", 2) == "photo (2).jpg"
    assert numbered("noending", 3) == "noending (3)"
