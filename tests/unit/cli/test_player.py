"""Playing a voice note: which program is asked, and what is left of it."""

import struct
from pathlib import Path

import pytest

from xmpp_onion.cli.player import play
from xmpp_onion.errors import UsageError

WAV = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 44, b"WAVE", b"fmt ", 16, 1, 1,
    8000, 16000, 2, 16, b"data", 8) + bytes(8)  # fmt: skip


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, name: str, status: int = 0) -> None:
    program = folder / name
    program.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        f'/bin/cp "$last" {folder}/heard\nexit {status}\n'
    )
    program.chmod(0o755)


class Note:
    """A note that comes, and where it was put."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.path = Path()

    async def fetch(self, folder: Path) -> Path:
        self.path = folder / "note"
        self.path.write_bytes(self.content)
        return self.path


async def test_a_note_is_played_and_nothing_of_it_stays(programs: Path) -> None:
    install(programs, "paplay")
    note = Note(WAV)
    await play(note.fetch)
    assert (programs / "heard").read_bytes() == WAV
    assert not note.path.parent.exists()


@pytest.mark.parametrize("program", ["mpv", "ffplay", "vlc", "play"])
async def test_no_program_is_asked_that_follows_links(
    programs: Path, program: str
) -> None:
    install(programs, program)
    with pytest.raises(UsageError, match="no program here plays it"):
        await play(Note(WAV).fetch)
    assert not (programs / "heard").exists()


async def test_what_is_no_recording_is_given_to_no_program(programs: Path) -> None:
    install(programs, "paplay")
    with pytest.raises(UsageError, match="it is not played"):
        await play(Note(b"#EXTM3U\nhttp://example.com/\n").fetch)
    assert not (programs / "heard").exists()


async def test_a_player_that_fails_is_told(programs: Path) -> None:
    install(programs, "paplay", status=3)
    note = Note(WAV)
    with pytest.raises(UsageError, match="was not played"):
        await play(note.fetch)
    assert not note.path.parent.exists()
