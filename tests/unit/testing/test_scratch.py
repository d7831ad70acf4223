import tempfile
from pathlib import Path

import pytest

from xmpp_onion.testing.scratch import ScratchFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def abandon(folder: Path) -> Path:
    """Make what a killed process leaves: files, and a lock that nobody holds."""
    folder.mkdir()
    (folder / "in-use.lock").touch()
    (folder / "state").touch()
    return folder


def test_the_folder_is_for_us_alone_and_goes() -> None:
    scratch = ScratchFolder.make("test-")
    assert scratch.path.stat().st_mode & 0o777 == 0o700

    scratch.remove()

    assert not scratch.path.exists()


def test_what_a_killed_process_left_is_swept_up(temporary: Path) -> None:
    old = abandon(temporary / "test-old")

    ScratchFolder.make("test-").remove()

    assert not old.exists()


def test_a_folder_in_use_stays() -> None:
    first = ScratchFolder.make("test-")

    ScratchFolder.make("test-").remove()

    assert first.path.exists()
    first.remove()


def test_what_is_not_ours_stays(temporary: Path) -> None:
    other = abandon(temporary / "other")
    unlocked = temporary / "test-without-lock"
    unlocked.mkdir()
    link = temporary / "test-link"
    (temporary / "victim").mkdir()
    link.mkdir()
    (link / "in-use.lock").symlink_to(temporary / "victim")

    ScratchFolder.make("test-").remove()

    assert other.exists()
    assert unlocked.exists()
    assert link.exists()
