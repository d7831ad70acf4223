"""The lock of a server's folder."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xmpp_onion import locks
from xmpp_onion.errors import ServerError
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.lock import (
    is_running,
    kept,
    locked,
    read_keeper,
    runs_already,
)

# No process has it: the kernel gives no number beyond 2^22.
NOBODY = 2**22 + 1


async def test_a_folder_is_held_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    async with locked(folder):
        with pytest.raises(ServerError) as caught:
            async with locked(folder, timeout=0.1):
                pass

    assert "runs already" in caught.value.what
    assert f"server down {tmp_path}" in caught.value.fix


async def test_a_folder_is_free_after_use(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    for _ in range(3):
        async with locked(folder):
            assert folder.lock_file.stat().st_mode & 0o777 == 0o600


async def test_a_child_that_inherits_the_lock_holds_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    async with locked(folder) as descriptor:
        child = subprocess.Popen(  # noqa: ASYNC220 - starts at once, and only waits
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
        )

    with child:
        with pytest.raises(ServerError):
            async with locked(folder, timeout=0.1):
                pass
        child.communicate(b"\n")

    async with locked(folder):
        pass


async def test_who_keeps_a_server_running_can_be_asked_for(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    assert read_keeper(folder) is None

    async with kept(folder):
        assert read_keeper(folder) == os.getpid()
        with pytest.raises(ServerError, match="runs already"):
            async with kept(folder, timeout=0.1):
                pass
        assert read_keeper(folder) == os.getpid()

    assert read_keeper(folder) is None


async def test_what_outlives_its_keeper_is_waited_for(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)
    with locks.open_lock(folder.keeper_file) as descriptor:
        assert await locks.take(folder.keeper_file, descriptor)
        process = await asyncio.create_subprocess_exec(
            "sleep", "1000", pass_fds=[descriptor]
        )
        os.pwrite(descriptor, str(NOBODY).encode("ascii"), 0)
    assert not is_running(NOBODY)

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_keep(folder))
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done()
        process.kill()
        await process.wait()


async def _keep(folder: Folder) -> None:
    async with kept(folder, timeout=0):
        assert read_keeper(folder) == os.getpid()


async def test_who_comes_second_learns_which_process_was_first(tmp_path: Path) -> None:
    folder = Folder(tmp_path, None)

    async with kept(folder, timeout=0):
        assert f"process {os.getpid()} holds" in runs_already(folder).why
