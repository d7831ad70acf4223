"""Private files and folders, and the lock: whatever the umask, whoever asks."""
# ruff: noqa: ASYNC221, ASYNC240 - a test may look at files and run commands while its loop waits

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xmpp_onion.errors import StoreError, StoreLockedError, StorePermissionError
from xmpp_onion.store import Database, Inbox

OPEN = """
import asyncio, sys
from pathlib import Path
from xmpp_onion.errors import StoreError
from xmpp_onion.store import Database

async def main():
    try:
        async with Database.open(Path(sys.argv[1])):
            print("open", flush=True)
            sys.stdin.read()
    except StoreError as error:
        print(type(error).__name__, error)

asyncio.run(main())
"""


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    old = os.umask(request.param)
    yield
    os.umask(old)


async def open_and_close(path: Path) -> None:
    async with Database.open(path):
        pass


def run_elsewhere(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path)],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[3],
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
    )
    return done.stdout.strip()


@pytest.mark.usefixtures("umask")
async def test_all_files_are_0600_and_folders_0700_whatever_the_umask(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data" / "profile" / "account.db"

    async with Database.open(path) as database, database.transaction():
        await Inbox(database).add("{}")
        modes = {
            file.relative_to(tmp_path).as_posix(): stat.S_IMODE(file.lstat().st_mode)
            for file in tmp_path.rglob("*")
        }

    assert modes == {
        "data": 0o700,
        "data/profile": 0o700,
        "data/profile/account.db": 0o600,
        "data/profile/account.db.lock": 0o600,
        "data/profile/account.db-wal": 0o600,
        "data/profile/account.db-shm": 0o600,
    }


async def test_a_umask_that_takes_all_away_does_not_lock_us_out(
    tmp_path: Path,
) -> None:
    old = os.umask(0o777)
    try:
        await open_and_close(tmp_path / "account.db")
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "account.db").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "mode", "fix"),
    [
        (".", 0o755, "chmod 700 {}"),
        (".", 0o770, "chmod 700 {}"),
        ("account.db", 0o640, "chmod 600 {}"),
        ("account.db", 0o604, "chmod 600 {}"),
        ("account.db.lock", 0o622, "chmod 600 {}"),
    ],
)
async def test_what_others_can_reach_is_refused_with_the_command_that_mends_it(
    path: Path, name: str, mode: int, fix: str
) -> None:
    await open_and_close(path)
    place = path.parent / name
    place.chmod(mode)

    with pytest.raises(StorePermissionError, match=f"mode {mode:04o}") as caught:
        await open_and_close(path)

    assert caught.value.fix == fix.format(place)
    subprocess.run(caught.value.fix.split(), check=True)
    await open_and_close(path)


async def test_a_readable_log_beside_the_file_is_refused(path: Path) -> None:
    await open_and_close(path)
    log = path.with_name("account.db-wal")
    log.touch(mode=0o600)
    log.chmod(0o644)

    with pytest.raises(StorePermissionError, match=r"account\.db-wal is refused"):
        await open_and_close(path)


@pytest.mark.parametrize("name", ["account.db", "account.db.lock", "account.db-wal"])
async def test_a_symbolic_link_is_refused_and_not_followed(
    path: Path, tmp_path: Path, name: str
) -> None:
    await open_and_close(path)
    elsewhere = tmp_path / "elsewhere"
    link = path.parent / name
    link.unlink(missing_ok=True)
    link.symlink_to(elsewhere)

    with pytest.raises(StorePermissionError, match="symbolic link"):
        await open_and_close(path)

    assert not elsewhere.exists()


async def test_a_linked_folder_is_refused(path: Path, tmp_path: Path) -> None:
    await open_and_close(path)
    link = tmp_path / "link"
    link.symlink_to(path.parent)

    with pytest.raises(StorePermissionError, match="symbolic link"):
        await open_and_close(link / path.name)


async def test_what_belongs_to_another_user_is_refused(path: Path) -> None:
    if os.geteuid() == 0:
        await open_and_close(path)
        os.chown(path, 65534, 65534)
    else:
        path = Path("/account.db")  # the root folder is not ours

    with pytest.raises(StorePermissionError, match="belongs to user") as caught:
        await open_and_close(path)

    assert "sudo chown" in caught.value.fix


async def test_a_folder_with_the_name_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    path.parent.chmod(0o700)

    with pytest.raises(StorePermissionError, match="something else has its name"):
        await open_and_close(path)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.usefixtures("ordinary_user")
async def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StorePermissionError, match="Permission denied") as caught:
        await open_and_close(Path("/xmpp-onion-test/account.db"))

    assert caught.value.what == "/xmpp-onion-test cannot be written"
    assert caught.value.fix.startswith("Check with: ls -ld /;")


async def test_a_place_that_cannot_be_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot be used: Not a directory"):
        await open_and_close(tmp_path / "file" / "account" / "account.db")


async def test_a_second_database_in_this_process_is_refused(path: Path) -> None:
    async with Database.open(path) as database:
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} holds it"):
            await open_and_close(path)

        async with database.transaction():
            await Inbox(database).add("the first one works on")


async def test_a_second_process_is_refused_and_told_what_to_do(path: Path) -> None:
    async with Database.open(path):
        said = await asyncio.to_thread(run_elsewhere, path)

    assert said == (
        f"StoreLockedError the account in {path.parent} is in use: "
        f"process {os.getpid()} holds it, and one account is one process. "
        "Stop the other one, or let it send for you: "
        "`xmpp-onion send` beside `xmpp-onion listen` works"
    )


async def test_a_killed_process_holds_nothing(path: Path) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OPEN,
        str(path),
        cwd=Path(__file__).parents[3],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdout
    assert await other.stdout.readline() == b"open\n"
    with pytest.raises(StoreLockedError, match=f"process {other.pid} holds it"):
        await open_and_close(path)

    other.kill()
    await other.wait()

    await open_and_close(path)


async def test_the_lock_is_free_after_an_error_at_opening(path: Path) -> None:
    await open_and_close(path)
    content = path.read_bytes()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError):
        await open_and_close(path)

    path.write_bytes(content)

    await open_and_close(path)
