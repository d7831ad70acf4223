"""Files and folders of this user alone: whatever the umask, whoever was there first."""

import contextlib
import os
import resource
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath

import pytest

from xmpp_onion import private
from xmpp_onion.errors import StoreError, StorePermissionError

NOBODY = 65534
UMASKS = [0o000, 0o022, 0o077, 0o777]


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def make_file(path: Path, text: str = "old") -> Path:
    private.write_new(path, text.encode())
    return path


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


# --- modes --------------------------------------------------------------------------


@pytest.mark.usefixtures("umask")
def test_all_folders_that_are_made_are_0700_whatever_the_umask(tmp_path: Path) -> None:
    private.make_folder(tmp_path / "a" / "b" / "c")

    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    assert [mode(folder) for folder in made] == [0o700] * 3


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: os.close(private.create_file(path)),
        lambda path: os.close(private.open_file(path)),
        lambda path: private.open_anew(path).close(),
        lambda path: private.write_new(path, b"x"),
        lambda path: private.replace(path, b"x"),
    ],
    ids=["create_file", "open_file", "open_anew", "write_new", "replace"],
)
def test_every_file_that_is_made_is_0600_whatever_the_umask(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "file")

    assert mode(tmp_path / "file") == 0o600


@pytest.mark.usefixtures("umask")
def test_what_a_group_has_to_read_is_0640_whatever_the_umask(tmp_path: Path) -> None:
    private.replace(tmp_path / "file", b"x", mode=0o640)

    assert mode(tmp_path / "file") == 0o640


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize("bits", [0o001, 0o002, 0o004, 0o010, 0o020, 0o040])
def test_every_right_of_others_is_refused_with_the_command_that_takes_it(
    tmp_path: Path, bits: int
) -> None:
    folder = tmp_path / "it's a folder"
    private.make_folder(folder)
    path = make_file(folder / "a file")
    for place, closed in ((folder, 0o700), (path, 0o600)):
        place.chmod(closed | bits)
        check = private.check_folder if place is folder else private.check_file

        with pytest.raises(StorePermissionError) as caught:
            check(place)

        assert caught.value.what == f"{place} is refused"
        assert caught.value.why == f"others can reach it (mode {closed | bits:04o})"
        subprocess.run(shlex.split(caught.value.fix), check=True)
        assert check(place)
        assert mode(place) == closed


READERS: list[Callable[[Path], object]] = [
    private.check_file,
    private.open_file,
    private.open_anew,
    private.open_to_read,
    private.read_bytes,
    private.read,
]


@pytest.mark.parametrize("use", READERS)
def test_no_way_to_a_file_that_others_can_read(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    path = make_file(tmp_path / "file")
    path.chmod(0o644)

    with pytest.raises(StorePermissionError, match="chmod 600"):
        use(path)

    assert path.read_text() == "old"


@pytest.mark.parametrize("use", READERS)
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_refused_and_not_followed(
    tmp_path: Path, use: Callable[[Path], object], *, dangling: bool
) -> None:
    target = tmp_path / "target"
    if not dangling:
        make_file(target)
    (tmp_path / "link").symlink_to(target)

    with pytest.raises(StorePermissionError, match="symbolic link"):
        use(tmp_path / "link")

    assert target.exists() != dangling
    assert dangling or target.read_text() == "old"


@pytest.mark.parametrize("dangling", [False, True])
def test_a_linked_folder_is_refused_and_not_followed(
    tmp_path: Path, *, dangling: bool
) -> None:
    target = tmp_path / "target"
    if not dangling:
        private.make_folder(target)
    (tmp_path / "link").symlink_to(target)

    for use in (private.check_folder, private.make_folder):
        with pytest.raises(StorePermissionError, match="symbolic link"):
            use(tmp_path / "link")

    assert target.exists() != dangling


@pytest.mark.parametrize("dangling", [False, True])
def test_a_new_file_does_not_follow_a_link_that_has_its_name(
    tmp_path: Path, *, dangling: bool
) -> None:
    target = tmp_path / "target"
    if not dangling:
        make_file(target)
    link = tmp_path / "link"
    link.symlink_to(target)

    with pytest.raises(FileExistsError):
        private.create_file(link)
    with pytest.raises(FileExistsError):
        private.write_new(link, b"new")
    private.replace(link, b"new")

    assert not link.is_symlink()
    assert link.read_text() == "new"
    assert dangling or target.read_text() == "old"


def foreign(place: Path) -> Path:
    """Return ``place`` as another user's, or what is another user's on any system."""
    if os.geteuid() != 0:
        return Path("/") if place.is_dir() else Path("/etc/passwd")
    os.chown(place, NOBODY, NOBODY)
    return place


def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    folder, us = tmp_path / "folder", os.geteuid()
    private.make_folder(folder)
    path = foreign(make_file(tmp_path / "file"))
    folder = foreign(folder)

    for use in (private.check_folder, private.make_folder):
        with pytest.raises(StorePermissionError, match="belongs to user") as caught:
            use(folder)
        assert caught.value.fix.endswith(f"sudo chown {us} {folder}")
    for read in READERS:
        with pytest.raises(StorePermissionError, match="belongs to user") as caught:
            read(path)
        assert caught.value.fix.endswith(f"sudo chown {us} {path}")


def test_the_owner_that_a_file_has_to_have_can_be_another(tmp_path: Path) -> None:
    path = make_file(tmp_path / "file")
    us = os.geteuid()

    assert private.check_file(path, owner=us)
    with pytest.raises(StorePermissionError) as caught:
        private.check_file(path, owner=NOBODY)
    assert caught.value.why == (
        f"it belongs to user {us}, and has to belong to user {NOBODY}"
    )


@pytest.mark.parametrize("use", READERS)
def test_something_else_of_the_name_is_refused_and_not_waited_for(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)

    for name in ("pipe", "folder"):
        with pytest.raises(StorePermissionError, match="something else has its name"):
            use(tmp_path / name)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    make_file(tmp_path / "file")

    with pytest.raises(StorePermissionError, match="something else has its name"):
        private.make_folder(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be used: Not a directory") as caught:
        private.make_folder(tmp_path / "file" / "folder")
    assert "choose another place" in caught.value.fix


def test_what_is_not_there_is_no_error_to_a_check(tmp_path: Path) -> None:
    assert not private.check_file(tmp_path / "none")
    assert not private.check_folder(tmp_path / "none")
    for read in (private.read, private.read_bytes, private.open_to_read):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none")


# --- what an ordinary user may not do -----------------------------------------------

TRY = """
import os, sys
from pathlib import Path
from xmpp_onion import private
from xmpp_onion.errors import StorePermissionError
if os.geteuid() == 0:  # dropped here, as our Python may lie where only root gets
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
try:
    print(eval(sys.argv[1])(Path(sys.argv[2])))
except StorePermissionError as error:
    print(error.what, error.why, error.fix, sep="\\n")
"""


@pytest.fixture
def ordinary_folder() -> Iterator[Path]:
    """A private folder of a user whom modes bind, where that one can get at it."""
    folder = Path(tempfile.mkdtemp(prefix="xmpp-onion-test-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def as_ordinary_user(use: str, path: Path) -> list[str]:
    """Return the lines that ``private.<use>(path)`` comes to for an ordinary user."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", TRY, f"private.{use}", str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_folder_that_its_owner_cannot_write_names_the_mode_and_the_command(
    ordinary_folder: Path,
) -> None:
    ordinary_folder.chmod(0o500)

    what, why, fix = as_ordinary_user("make_folder", ordinary_folder)

    assert what == f"{ordinary_folder} cannot be written"
    assert why == "its owner may not either (mode 0500)"
    subprocess.run(fix.split(), check=True)
    assert as_ordinary_user("make_folder", ordinary_folder) == ["None"]


@pytest.mark.parametrize("use", ["make_folder", "open_file"])
def test_what_cannot_be_made_is_told_with_its_place(
    ordinary_folder: Path, use: str
) -> None:
    ordinary_folder.chmod(0o500)
    path = ordinary_folder / "new"

    what, why, fix = as_ordinary_user(use, path)

    assert what == f"{path} cannot be written"
    assert why == "Permission denied"
    assert fix.startswith(f"Check with: ls -ld {ordinary_folder};")


def test_what_cannot_be_looked_at_does_not_count_as_missing(
    ordinary_folder: Path,
) -> None:
    ordinary_folder.chmod(0o000)

    for use in ("check_file", "read"):
        what, why, _ = as_ordinary_user(use, ordinary_folder / "file")

        assert what == f"{ordinary_folder}/file cannot be read"
        assert why == "Permission denied"


# --- whole or not at all ------------------------------------------------------------


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow over ten bytes, as a full disk or a quota would.

    No fixture: pytest itself writes to a file, perhaps, before a fixture ends.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = make_file(tmp_path / "file")

    with (
        pytest.raises(StoreError, match="file could not be written") as caught,
        full_disk(),
    ):
        private.replace(path, b"x" * 100)
    with pytest.raises(OSError, match="File too large"), full_disk():
        private.write_new(tmp_path / "other", b"x" * 100)

    assert caught.value.fix == f"Make room (see: df -h {tmp_path}), then try again"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_the_error_of_a_full_disk_says_so() -> None:
    with (
        pytest.raises(StoreError, match="No space left on device"),
        private.os_errors(Path("/dev/full")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_a_replacement_is_read_back_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"

    for text in ("one", "a longer ü", ""):
        private.replace(path, text.encode())
        assert private.read(path) == text

    assert names(tmp_path) == ["file"]


def test_a_replacement_closes_what_was_open(tmp_path: Path) -> None:
    path = make_file(tmp_path / "file")
    path.chmod(0o666)

    private.replace(path, b"new")

    assert mode(path) == 0o600


def test_many_writers_leave_one_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [bytes([65 + number]) * 100_000 for number in range(8)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: private.replace(path, text), texts * 4))

    assert private.read_bytes(path) in texts
    assert names(tmp_path) == ["file"]


def test_a_name_is_given_once_however_many_want_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    start = threading.Barrier(8)

    def write(number: int) -> int | None:
        start.wait()
        try:
            private.write_new(path, b"%d" % number)
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        written = [n for n in pool.map(write, range(8)) if n is not None]

    assert [int(private.read(path))] == written
    assert names(tmp_path) == ["file"]


def test_a_draft_is_published_under_its_name(tmp_path: Path) -> None:
    private.publish(make_file(tmp_path / "draft", "new"), make_file(tmp_path / "file"))

    assert private.read(tmp_path / "file") == "new"
    assert names(tmp_path) == ["file"]


def test_a_file_that_is_opened_anew_is_empty(tmp_path: Path) -> None:
    with private.open_anew(make_file(tmp_path / "file")) as file:
        file.write(b"x")

    assert private.read(tmp_path / "file") == "x"


def test_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    assert private.read_bytes(make_file(tmp_path / "file"), 2) == b"ol"


# --- what appears meanwhile ---------------------------------------------------------


class Meanwhile(PosixPath):
    """A path where something appears right after the first look at it."""

    appears: Callable[[], None] | None = None

    def lstat(self) -> os.stat_result:
        appears, Meanwhile.appears = Meanwhile.appears, None
        try:
            return super().lstat()
        finally:
            if appears is not None:
                appears()


def test_a_folder_that_appears_meanwhile_is_taken_if_it_is_ours(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (tmp_path / "made").mkdir(mode=0o700)
    inode = (tmp_path / "made").stat().st_ino

    def appear() -> None:
        (tmp_path / "made").rename(folder)

    Meanwhile.appears = appear
    private.make_folder(Meanwhile(folder))

    assert folder.stat().st_ino == inode


def test_a_folder_that_appears_meanwhile_is_refused_if_it_is_open(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"

    def appear() -> None:
        folder.mkdir()
        folder.chmod(0o777)

    Meanwhile.appears = appear

    with pytest.raises(StorePermissionError, match="chmod 700"):
        private.make_folder(Meanwhile(folder))


@pytest.mark.parametrize("is_there", [False, True])
def test_a_link_that_appears_meanwhile_is_not_followed(
    tmp_path: Path, *, is_there: bool
) -> None:
    path, target = tmp_path / "file", make_file(tmp_path / "target")
    uses: list[Callable[[Path], object]] = [private.open_file]
    if is_there:
        uses += [private.read, private.open_to_read]

    def appear() -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    for use in uses:
        path.unlink(missing_ok=True)
        if is_there:
            make_file(path)
        Meanwhile.appears = appear

        with pytest.raises(StoreError):
            use(Meanwhile(path))

    assert target.read_text() == "old"


def test_an_open_file_that_appears_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def appear() -> None:
        path.unlink(missing_ok=True)
        path.touch()
        path.chmod(0o666)

    for use in (private.open_file, private.read):
        path.unlink(missing_ok=True)
        if use is private.read:
            make_file(path)
        Meanwhile.appears = appear

        with pytest.raises(StorePermissionError, match="chmod 600"):
            use(Meanwhile(path))


def test_a_log_that_is_too_long_keeps_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with private.open_anew(path) as file:
        lines = [b"line %d\n" % number for number in range(1000)]
        file.writelines(lines)
        file.flush()
        private.shorten(path, 10_000)
        whole = path.read_bytes()
        private.shorten(path, 1000)
        rest = path.read_bytes()
        file.write(b"goes on\n")  # where the end is now, and leaves no hole
        file.flush()

    assert whole == b"".join(lines)
    assert 400 < len(rest) <= 500
    assert rest.startswith(b"line ")
    assert whole.endswith(rest)
    assert path.read_bytes() == rest + b"goes on\n"


def test_a_log_that_is_missing_need_not_be_shortened(tmp_path: Path) -> None:
    private.shorten(tmp_path / "log", 10)

    assert not (tmp_path / "log").exists()


def test_a_log_is_not_shortened_through_a_link(tmp_path: Path) -> None:
    other = make_file(tmp_path / "other")
    other.write_bytes(b"precious" * 100)
    (tmp_path / "log").symlink_to(other)

    with pytest.raises(StorePermissionError):
        private.shorten(tmp_path / "log", 10)

    assert other.stat().st_size == 800
