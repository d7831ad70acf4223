"""The server's commands where no server runs."""

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import locks
from xmpp_onion.address import OnionAddress
from xmpp_onion.server import Options

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

PEER = str(OnionAddress.from_public_key(bytes(32)))


def test_init_keeps_what_was_chosen(
    command: "Command", tmp_path: Path, onion: str
) -> None:
    folder = tmp_path / "server"

    first = command("server", "init", str(folder), "--door", "both", "--json")
    second = command(
        "server",
        "init",
        str(folder),
        "--federation",
        "listed",
        "--peer",
        onion,
        "--archive",
        "memory",
    )
    third = command("server", "init", str(folder))

    assert [first.code, second.code, third.code] == [0, 0, 0]
    assert second.out == third.out
    options = Options.load(folder / "server.json")
    assert (options.door, options.federation) == ("both", "listed")
    assert options.peers == (onion,)
    assert options.archive == "memory"
    assert first.lines[0]["onion"] in second.out


def test_init_for_ejabberd_closes_the_server_and_keeps_that(
    command: "Command", tmp_path: Path
) -> None:
    folder = tmp_path / "server"

    made = command("server", "init", str(folder), "--engine", "ejabberd", "--json")
    again = command("server", "init", str(folder))
    invite = command("server", "invite", str(folder), "--json")

    assert [made.code, again.code, invite.code] == [0, 0, 7]
    options = Options.load(folder / "server.json")
    assert (options.engine, options.federation) == ("ejabberd", "off")
    text = (folder / "ejabberd" / "ejabberd.yml").read_text()
    assert f'hosts: ["{made.lines[0]["onion"]}"]' in text
    assert f"port: {options.ports.c2s}\n" in text
    assert "_PORT@" not in text
    assert "no invites" in invite.lines[0]["what"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--door", "open"), 2),
        (("--federation", "some"), 2),
        (("--peer", "example.com"), 2),
        (("--engine", "sendmail"), 2),
        (("--engine", "ejabberd", "--federation", "open"), 7),
        (("--peer", PEER), 2),
        (("--peer", PEER, "--federation", "open"), 2),
        (("--peer", PEER, "--federation", "off"), 2),
        (("--door", "private", "--federation", "open"), 7),
        (("--door", "private", "--federation", "listed", "--peer", PEER), 7),
    ],
)
def test_init_refuses_what_it_does_not_know_and_makes_nothing(
    command: "Command", tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    done = command("server", "init", str(tmp_path / "server"), *arguments, "--json")

    assert (done.code, done.lines[0]["code"]) == (code, code)
    assert not (tmp_path / "server").exists()


def test_init_names_a_peer_only_where_listed_ones_count(
    command: "Command", tmp_path: Path
) -> None:
    folder = str(tmp_path / "server")

    made = command("server", "init", folder)
    refused = command("server", "init", folder, "--peer", PEER, "--json")
    listed = command("server", "init", folder, "--peer", PEER, "--federation", "listed")
    again = command("server", "init", folder, "--peer", PEER)

    assert [made.code, refused.code, listed.code, again.code] == [0, 2, 0, 0]
    assert "--federation listed" in refused.lines[0]["what"]


def test_a_private_door_closes_a_server_to_others_until_it_is_public_again(
    command: "Command", tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    config = folder / "prosody" / "prosody.cfg.lua"

    def federation() -> str:
        return config.read_text().partition('local federation = "')[2].split('"')[0]

    private = command("server", "init", str(folder), "--door", "private")
    closed = federation()
    refused = command("server", "init", str(folder), "--federation", "open", "--json")
    both = command("server", "init", str(folder), "--door", "both")

    assert [private.code, refused.code, both.code] == [0, 7, 0]
    assert (closed, federation()) == ("off", "open")
    assert "private" in refused.lines[0]["why"]
    assert "--door both" in refused.lines[0]["fix"]


def test_the_status_of_a_server_that_does_not_run(
    command: "Command", tmp_path: Path
) -> None:
    folder = str(tmp_path / "server")
    missing = command("server", "status", folder, "--json")
    made = command("server", "init", folder, "--json")

    done = command("server", "status", folder, "--json")
    shown = command("server", "status", folder)

    assert (missing.code, missing.lines[0]["event"]) == (7, "error")
    onion = made.lines[0]["onion"]
    (status,) = done.lines
    assert (done.code, status["state"], status["onion"]) == (7, "down", onion)
    assert shown.out == f"{onion}\nIt does not run.\n"


def test_a_server_that_runs_is_refused_before_another_is_said_to_start(
    command: "Command", tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    command("server", "init", str(folder))
    with locks.open_lock(folder / "keeper") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.write(held, b"1")
        done = command("server", "up", "--detach", str(folder))

    assert (done.code, done.out) == (7, "")
    assert "runs already" in done.err.splitlines()[0]
    assert "Starting" not in done.err


def test_a_place_that_cannot_be_says_what_to_do(command: "Command") -> None:
    done = command("server", "up", "--detach", "/proc/x", "--json")

    assert done.code == 7
    assert "choose another place" in str(done.lines[0]["fix"])


def test_a_check_tells_what_it_found_and_ends_with_the_worst(
    command: "Command", tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    missing = command("server", "check", str(folder), "--json")
    command("server", "init", str(folder))

    well = command("server", "check", str(folder), "--offline", "--json")
    without_tor = command("server", "check", str(folder), "--json")
    (folder / "server.json").chmod(0o644)
    worst = command("server", "check", str(folder))

    assert (missing.code, missing.lines[0]["event"]) == (7, "error")
    assert (well.code, without_tor.code, worst.code) == (0, 3, 7)
    assert {line["event"] for line in well.lines} == {"check"}
    assert "ok    certificate: " in worst.out
    assert "FAIL  files: " in worst.out
    assert "      fix: " in worst.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--contact", "alice", "--room", "garden"),
        ("--contact", "alice", "--username", "bob"),
        ("--list", "--revoke", "0a1b2c3d"),
        ("--list", "--username", "bob"),
        ("--expires", "soon"),
    ],
)
def test_an_invite_is_one_thing_at_a_time(
    command: "Command", tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = command("server", "invite", str(tmp_path / "server"), *arguments)

    assert (done.code, done.out) == (2, "")
