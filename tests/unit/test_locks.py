"""Lock files: one holder at a time, and asking that disturbs nobody."""
# ruff: noqa: ASYNC240 - a test may look at files while its loop waits

import asyncio
import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from xmpp_onion import locks
from xmpp_onion.errors import StoreError, StorePermissionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


async def test_a_lock_has_one_holder(path: Path) -> None:
    with locks.open_lock(path) as first, locks.open_lock(path) as second:
        assert await locks.take(path, first)
        assert not await locks.take(path, second)
        assert not await locks.take(path, second, patience=0.1)
        assert locks.is_held(path)

    assert not locks.is_held(path)


async def test_patience_is_for_who_is_about_to_let_go(path: Path) -> None:
    with locks.open_lock(path) as first, locks.open_lock(path) as second:
        assert await locks.take(path, first)
        asyncio.get_running_loop().call_later(0.1, fcntl.flock, first, fcntl.LOCK_UN)

        assert await locks.take(path, second, patience=10)


async def test_the_file_stays_and_is_private(path: Path) -> None:
    before = os.umask(0)
    try:
        for _ in range(2):
            with locks.open_lock(path) as descriptor:
                assert await locks.take(path, descriptor)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_child_that_inherits_the_descriptor_holds_on(path: Path) -> None:
    with locks.open_lock(path) as descriptor:
        assert await locks.take(path, descriptor)
        child = subprocess.Popen(  # noqa: ASYNC220 - starts at once, and only waits
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
        )

    with child:
        assert locks.is_held(path)
        child.communicate(b"\n")

    assert not locks.is_held(path)


def test_asking_makes_and_writes_nothing(path: Path) -> None:
    assert not locks.is_held(path)
    assert not path.exists()

    path.touch(mode=0o600)
    path.write_text("4711\n")
    before = path.stat().st_mtime_ns
    assert not locks.is_held(path)

    assert path.read_text() == "4711\n"
    assert path.stat().st_mtime_ns == before


def test_those_who_ask_do_not_disturb_each_other(path: Path) -> None:
    path.touch(mode=0o600)

    with path.open("rb") as another:
        fcntl.flock(another, fcntl.LOCK_SH)

        assert not locks.is_held(path)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606])
def test_a_lock_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    path.touch()
    path.chmod(mode)

    with pytest.raises(StorePermissionError, match="chmod 600"):
        locks.is_held(path)
    with pytest.raises(StorePermissionError, match="chmod 600"), locks.open_lock(path):
        pass


def test_a_lock_that_is_a_link_is_refused_and_not_followed(path: Path) -> None:
    target = path.with_name("target")
    path.symlink_to(target)

    with pytest.raises(StorePermissionError, match="symbolic link"):
        locks.is_held(path)
    with (
        pytest.raises(StorePermissionError, match="symbolic link"),
        locks.open_lock(path),
    ):
        pass

    assert not target.exists()


async def test_what_cannot_be_locked_is_told(path: Path) -> None:
    descriptor = os.open("/", os.O_RDONLY | os.O_PATH)
    try:
        with pytest.raises(StoreError, match="cannot be locked") as caught:
            await locks.take(path, descriptor)
    finally:
        os.close(descriptor)

    assert "local file system" in caught.value.fix


def test_a_lock_that_is_held_for_an_instant_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order: list[str] = []

    def other() -> None:
        with locks.hold(path):
            order.append("other")

    with locks.hold(path):
        thread = threading.Thread(target=other)
        thread.start()
        order.append("first")
    thread.join()

    assert order == ["first", "other"]
