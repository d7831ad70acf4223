"""What the doctor says of the folder of a profile."""

from pathlib import Path

import pytest

from xmpp_onion.agent.disk import check_files, check_space, judge_space
from xmpp_onion.errors import StoreError, StorePermissionError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "profile"
    place.mkdir(mode=0o700)
    (place / "store").touch(mode=0o600)
    (place / "tor").mkdir(mode=0o700)
    (place / "link").symlink_to("/etc/passwd")
    return place


def test_a_folder_that_is_closed_is_well(folder: Path) -> None:
    assert "closed to others" in str(check_files(folder))


@pytest.mark.parametrize("name", ["", "store", "tor"])
@pytest.mark.parametrize("right", [0o040, 0o020, 0o004, 0o001])
def test_what_others_can_reach_is_named_with_what_closes_it(
    folder: Path, name: str, right: int
) -> None:
    path = folder / name
    path.chmod(path.stat().st_mode | right)

    finding = check_files(folder)

    assert isinstance(finding, StorePermissionError)
    assert str(path) in finding.why
    assert f"chmod -R go-rwx {folder}" in finding.fix


def test_of_many_files_a_few_are_named(folder: Path) -> None:
    for number in range(10):
        (folder / str(number)).touch()
        (folder / str(number)).chmod(0o644)

    assert "and 7 more" in str(check_files(folder))


def test_a_disk_that_is_nearly_full_is_a_fault(folder: Path) -> None:
    assert isinstance(judge_space(256 * 1024**2 - 1, folder), StoreError)
    assert judge_space(1024**3, folder) == "1.0 GiB are free"
    assert isinstance(check_space(folder / "none"), StoreError)
