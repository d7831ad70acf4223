"""The server's commands."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.onion.cli.logged import assert_nobody_is_named
from xmpp_onion import Invite, OnionAddress

if TYPE_CHECKING:
    from tests.onion.cli.conftest import World


pytestmark = pytest.mark.onion

# Seconds after which what has not come is an error; never asserted otherwise.
PATIENCE = 120.0
LOUD = ("--json", "-vv")


def test_a_server_is_made_started_and_stopped(world: "World", tmp_path: Path) -> None:
    folder = tmp_path / "server"

    made = world.run("server", "init", str(folder), "--json")
    again = world.run("server", "init", str(folder), "--json")
    idle = world.run("server", "invite", str(folder), "--json")
    with world.runs(*world.service, "server", "up", str(folder), *LOUD) as up:
        line = up.line()
        second = world.run(*world.service, "server", "up", str(folder), "--json")
        status = world.run("server", "status", str(folder), "--json")
        down = world.run("server", "down", str(folder), "--json")
        ended = up.wait()
    late = world.run("server", "down", str(folder), "--json")
    at_last = world.run("server", "status", str(folder), "--json")

    onion = OnionAddress(str(made.lines[0]["onion"]))
    assert again.lines == made.lines
    assert_nobody_is_named(ended.err, onion)
    assert (line["event"], line["onion"], line["c2s"]) == ("server", onion, 5222)
    assert len(str(line["fingerprint"])) == 64
    assert (down.code, ended.code) == (0, 0)
    assert {line["event"] for line in ended.lines} <= {"status"}
    assert (status.code, at_last.code) == (0, 7)
    assert at_last.lines[0]["state"] == "down"
    for refused in (idle, second, late):
        (error,) = refused.lines
        assert (refused.code, error["code"]) == (7, 7)
        assert error["fix"]


def test_a_server_that_is_up_is_checked_through_tor(world: "World") -> None:
    done = world.run("server", "check", str(world.server), "--json")

    lines = {line["name"]: line for line in done.lines}
    assert [name for name, line in lines.items() if not line["ok"]] == []
    assert done.code == 0
    assert "it runs" in str(lines["state"]["what"])
    assert "all of them on 127.0.0.1" in str(lines["listeners"]["what"])
    assert f"{world.onion} answers through Tor" in str(lines["reach"]["what"])


def test_an_invite_is_a_uri_and_its_end(world: "World") -> None:
    done = world.run(
        "server", "invite", str(world.server), "--username", "dora", "--expires", "2h",
        "--json",
    )  # fmt: skip
    plain = world.run("server", "invite", str(world.server))

    (line,) = done.lines
    assert (done.code, line["event"]) == (0, "invite")
    invite = Invite(str(line["uri"]))
    assert (invite.onion, invite.local) == (world.onion, "dora")
    assert str(line["expires"]).endswith("Z")
    assert plain.out.count("\n") == 1  # for a program: no picture
    assert Invite(plain.out.strip()).onion == world.onion
    assert "one account" in plain.err


def test_a_server_in_the_background_survives_its_own_death(
    world: "World", tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    up = world.run(*world.service, "server", "up", "--detach", str(folder), "--json")
    try:
        keeper = int((folder / "keeper").read_text())
        first = child_of(keeper)
        status = world.run("server", "status", str(folder), "--json")
        os.kill(first, signal.SIGKILL)
        await_change(lambda: child_of(keeper) not in {0, first})
        await_change(lambda: world.run("server", "status", str(folder)).code == 0)
        second = world.run(*world.service, "server", "up", "--detach", str(folder))
    finally:
        down = world.run("server", "down", str(folder))

    (line,) = up.lines
    assert (up.code, line["event"]) == (0, "server")
    assert (status.code, status.lines[0]["state"]) == (0, "up")
    assert (second.code, down.code) == (7, 0)
    assert "runs already" in second.err
    assert world.run("server", "status", str(folder)).code == 7
    assert "died with code -9" in (folder / "background").read_text()
    await_change(lambda: not is_running(keeper))  # it let go a moment before


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def child_of(pid: int) -> int:
    """Return the only child of a process; 0 if it has none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return int(children or 0)


def await_change(has_come: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + PATIENCE
    while not has_come():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_stops_a_start_in_the_background_is_told(
    world: "World", tmp_path: Path
) -> None:
    done = world.run(
        "--socks", "127.0.0.1:1", "server", "up", "--detach", str(tmp_path / "server"),
        "--json",
    )  # fmt: skip

    (line,) = done.lines
    assert (done.code, line["event"], line["code"]) == (3, "error", 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_server_down(
    world: "World", tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "server"
    with world.runs(*world.service, "server", "up", str(folder), "--json") as up:
        assert up.line()["event"] == "server"
        ended = up.end(number)

    assert ended.code == (130 if number is signal.SIGINT else 0)
    assert world.run("server", "down", str(folder)).code == 7  # none runs


def test_a_dead_tor_exits_with_3_and_makes_no_server(
    world: "World", tmp_path: Path
) -> None:
    done = world.run(
        "--socks", "127.0.0.1:1", "server", "up", str(tmp_path / "server"), "--json"
    )

    (line,) = done.lines
    assert (done.code, line["code"]) == (3, 3)
    assert not (tmp_path / "server").exists()


def test_a_folder_that_others_can_read_exits_with_7(
    world: "World", tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    assert world.run("server", "init", str(folder)).code == 0
    folder.chmod(0o755)

    done = world.run(*world.service, "server", "up", str(folder), "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (7, 7)
    assert f"chmod 700 {folder}" in str(line["fix"])
