"""What of Prosody's folder goes into a backup, whatever its user put there."""

import os
from pathlib import Path

import pytest

from xmpp_onion.server.snapshot import walk

OURS = os.geteuid()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "host").mkdir(parents=True)
    (folder / "host" / "alice.dat").write_text("her")
    (tmp_path / "secret").write_text("of somebody else")
    return folder


def names(data: Path, *, owner: int = OURS) -> set[str]:
    return {str(found.path) for found in walk(data, owner=owner)}


def test_what_belongs_to_a_process_or_is_made_anew_is_left_out(data: Path) -> None:
    for name in ("prosody.pid", "prosody.log", "host/bob.lidx", "host/bob.list~"):
        (data / name).write_text("passing")

    assert names(data) == {"host/alice.dat"}


def test_no_link_is_followed(data: Path) -> None:
    (data / "file.dat").symlink_to(data.parent / "secret")
    (data / "folder").symlink_to(data.parent)
    os.mkfifo(data / "pipe.dat")

    assert names(data) == {"host/alice.dat"}


def test_nothing_of_another_owner_is_read(data: Path) -> None:
    assert names(data, owner=OURS + 1) == set()


def test_what_came_after_the_moment_is_left_out(data: Path) -> None:
    (data / ".sizes").write_text("2 host/alice.dat\n9 host/gone.dat\n")
    (data / "later.dat").write_text("later")

    found = {
        str(each.path): each.file.read(each.size) for each in walk(data, owner=OURS)
    }

    assert found == {"host/alice.dat": b"he"}
