import contextlib
from pathlib import Path

import pytest

from xmpp_onion.errors import DiskFullError, FileError, StoreError
from xmpp_onion.files.disk import check_room, draft, settle


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("first")
    (tmp_path / "photo (2).jpg").symlink_to(tmp_path / "victim")

    with draft(tmp_path, ".new", keep=False) as file:
        file.write(b"second")
        path = settle(file, tmp_path / ".new", "photo.jpg")

    assert path == tmp_path / "photo (3).jpg"
    assert path.read_bytes() == b"second"
    assert (tmp_path / "photo.jpg").read_text() == "first"
    assert not (tmp_path / "victim").exists()
    assert not (tmp_path / ".new").exists()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_draft_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / ".new").symlink_to(tmp_path / "victim")

    with pytest.raises(StoreError), draft(tmp_path, ".new", keep=True):
        pass

    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("keep", [True, False])
def test_a_draft_stays_after_a_failure_if_it_is_to(
    tmp_path: Path, *, keep: bool
) -> None:
    with contextlib.suppress(FileError), draft(tmp_path, ".new", keep=keep) as file:
        file.write(b"half")
        raise FileError("broke off")

    assert (tmp_path / ".new").exists() == keep


def test_a_draft_with_nothing_in_it_does_not_stay(tmp_path: Path) -> None:
    with (
        contextlib.suppress(FileError),
        draft(tmp_path, ".new", keep=True),
    ):
        raise FileError("there is none")

    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_fetch_one_file_at_once(tmp_path: Path) -> None:
    with (
        draft(tmp_path, ".new", keep=True),
        pytest.raises(FileError, match="already"),
        draft(tmp_path, ".new", keep=True),
    ):
        pass


def test_what_the_disk_cannot_hold_is_refused(tmp_path: Path) -> None:
    check_room(tmp_path, 1)

    with pytest.raises(DiskFullError, match="room") as caught:
        check_room(tmp_path, 2**60)

    assert caught.value.exit_code == 7  # a disk that is full, not a server that refuses
