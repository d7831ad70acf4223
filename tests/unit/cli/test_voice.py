"""What `send --voice` and `--file` take, and what they refuse before anything else."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from xmpp_onion.cli import voice
from xmpp_onion.cli.voice import recorded

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

# Of 16 bits, 8,000 in a second: no sound yet.
WAV = bytes.fromhex(
    "52494646 ffffffff 57415645 666d7420 10000000 0100 0100 401f0000 803e0000 0200 1000"
    "64617461 ffffffff"
)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this user's things are kept in memory."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def hear(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    """Stands for stdin."""
    heard = io.BytesIO()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(heard))
    yield heard
    monkeypatch.undo()


def test_what_comes_from_stdin_lies_in_memory_for_us_alone_until_it_is_sent(
    runtime: Path, hear: io.BytesIO
) -> None:
    hear.write(WAV + bytes(16_000))
    hear.seek(0)

    with recorded(None, "-") as path:
        assert path.name == "voice.wav"
        assert path.read_bytes() == hear.getvalue()
        assert path.is_relative_to(runtime)
        assert path.parent.stat().st_mode & 0o777 == 0o700

    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1001])
def test_what_is_empty_or_never_ends_is_refused_and_nothing_is_left(
    runtime: Path, hear: io.BytesIO, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(voice, "_LIMIT", 1000)
    hear.write(bytes(size))
    hear.seek(0)

    with pytest.raises(click.UsageError), recorded(None, "-"):
        raise AssertionError

    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("way", ["--file", "--voice"])
@pytest.mark.parametrize("others", [["-m", "x"], ["--correct", "an-id"]])
@pytest.mark.usefixtures("account")
def test_a_file_goes_by_itself(
    command: "Command", onion: str, tmp_path: Path, way: str, others: list[str]
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")

    done = command("send", f"bob@{onion}", way, str(path), *others)

    assert done.code == 2
    assert done.out == ""


@pytest.mark.usefixtures("account")
def test_a_file_and_a_recording_are_two(
    command: "Command", onion: str, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")

    done = command("send", f"bob@{onion}", "--file", str(path), "--voice", str(path))

    assert done.code == 2


@pytest.mark.usefixtures("account")
def test_no_sound_is_no_message(command: "Command", onion: str) -> None:
    done = command("send", f"bob@{onion}", "--voice", "-", stdin="")

    assert done.code == 2
    assert "no sound" in done.err


@pytest.mark.usefixtures("account")
def test_a_text_is_not_padded_as_a_file_is(command: "Command", onion: str) -> None:
    done = command("send", f"bob@{onion}", "-m", "hello", "--pad")

    assert done.code == 2
    assert "not a text" in done.err
