"""Reading a log that somebody else writes."""

import os
from pathlib import Path

import pytest

from xmpp_onion.server.log import LogReader, read_tail


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prosody.log"


def add(file: Path, text: str) -> None:
    with file.open("a") as log:
        log.write(text)


def test_only_what_is_added_is_read(file: Path) -> None:
    add(file, "before\n")
    reader = LogReader(file)

    assert reader.read_new() == []
    add(file, "one\ntwo\n")
    assert reader.read_new() == ["one", "two"]
    assert reader.read_new() == []


def test_a_line_is_read_when_it_is_whole(file: Path) -> None:
    reader = LogReader(file)

    add(file, "one\nhalf")
    assert reader.read_new() == ["one"]
    add(file, " and half\n")
    assert reader.read_new() == ["half and half"]


@pytest.mark.parametrize("how", ["replaced", "emptied"])
def test_a_log_that_is_begun_anew_is_read_from_its_start(file: Path, how: str) -> None:
    add(file, "long before\n")
    reader = LogReader(file)
    if how == "replaced":
        file.rename(file.with_suffix(".1"))
    else:
        file.write_text("")

    add(file, "new\n")
    assert reader.read_new() == ["new"]


def test_of_a_flood_the_end_is_read(file: Path) -> None:
    reader = LogReader(file)
    add(file, "".join(f"line {number}\n" for number in range(100_000)))

    lines = reader.read_new()

    assert lines[-1] == "line 99999"
    assert sum(map(len, lines)) <= 64 * 1024
    assert reader.read_new() == []


def test_no_link_is_followed_and_no_pipe_waited_for(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    reader = LogReader(file)
    file.symlink_to(tmp_path / "secret")
    assert reader.read_new() == []
    assert read_tail(file) == ""

    file.unlink()
    os.mkfifo(file)
    assert reader.read_new() == []
    assert read_tail(file) == ""
