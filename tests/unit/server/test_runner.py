"""Starting Prosody where there is none; the rest is in tests/integration/server."""

import os
from pathlib import Path

import pytest

from xmpp_onion.errors import (
    ProsodyError,
    ProsodyNotFoundError,
    ServerError,
    StorePermissionError,
)
from xmpp_onion.server import Prosody, initialise


async def enter(prosody: Prosody) -> None:
    async with prosody:
        raise AssertionError("it started")


def open_to_all(folder: Path) -> None:
    folder.chmod(0o755)


async def test_a_missing_program_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ProsodyNotFoundError) as caught:
        await enter(Prosody(tmp_path / "server", program="prosody-not-there"))

    assert "prosody-not-there" in caught.value.what
    assert "apt-get install prosody lua-dbi-sqlite3 lua-unbound" in caught.value.fix


async def test_a_program_that_ends_at_once_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ProsodyError) as caught:
        await enter(Prosody(tmp_path / "server", program="false"))

    assert caught.value.exit_status == 1


async def test_a_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    initialise(tmp_path)
    open_to_all(tmp_path)

    with pytest.raises(StorePermissionError) as caught:
        await enter(Prosody(tmp_path, program="false"))

    assert caught.value.fix == f"chmod 700 {tmp_path}"


async def test_a_failed_start_leaves_the_folder_free(tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(ProsodyError):
            await enter(Prosody(tmp_path, program="false"))


async def test_there_is_no_process_before_the_start(tmp_path: Path) -> None:
    prosody = Prosody(tmp_path)

    with pytest.raises(ServerError, match="does not run"):
        _ = prosody.pid
    await prosody.wait()


def test_the_address_is_known_before_the_start(tmp_path: Path) -> None:
    onion = initialise(tmp_path)

    assert Prosody(tmp_path).onion == onion


def test_the_log_tail_is_short_and_follows_no_link(tmp_path: Path) -> None:
    initialise(tmp_path)
    (tmp_path / "secret").write_text("secret\n")
    log_file = tmp_path / "prosody" / "data" / "prosody.log"
    log_file.symlink_to(tmp_path / "secret")
    assert Prosody(tmp_path).log_tail() == ""

    log_file.unlink()
    log_file.write_text("".join(f"line {number}\n" for number in range(5000)))

    lines = Prosody(tmp_path).log_tail().splitlines()
    assert lines[-1] == "line 4999"
    assert len(lines) == 20


def test_a_pipe_in_the_place_of_the_log_does_not_hold_us_up(tmp_path: Path) -> None:
    initialise(tmp_path)
    os.mkfifo(tmp_path / "prosody" / "data" / "prosody.log")

    assert Prosody(tmp_path).log_tail() == ""
