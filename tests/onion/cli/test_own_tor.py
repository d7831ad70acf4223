"""A server with a Tor of its own, and what is left of it when it is killed."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.server import Options
from xmpp_onion.server.certificate import make_certificate
from xmpp_onion.server.console import ask
from xmpp_onion.transport import Tor, find_launched

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Done, World

pytestmark = pytest.mark.onion

# Seconds after which what has not come is an error; never asserted otherwise.
PATIENCE = 120.0


@dataclass(frozen=True)
class Own:
    """A server in the background, with its own Tor in the private network."""

    world: "World"
    folder: Path

    def run(self, *arguments: str) -> "Done":
        """Run a command about it, for which no Tor is named."""
        return self.world.run("server", *arguments, XMPP_ONION_SOCKS="")

    def processes(self) -> list[int]:
        """Return all that runs for it: each has its folder, or a part, for its own."""
        return [
            int(proc.name)
            for proc in Path("/proc").glob("[0-9]*")
            if belongs(proc, self.folder)
        ]


def belongs(proc: Path, folder: Path) -> bool:
    try:
        words = (proc / "cmdline").read_bytes()
        place = (proc / "cwd").readlink()
        state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    is_here = folder in (place, *place.parents) or os.fsencode(folder) in words
    return is_here and state != "Z"


def await_change(has_come: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + PATIENCE
    while not has_come():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def own(world: "World", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    made = Own(world, tmp_path_factory.mktemp("own") / "server")
    assert made.run("init", str(made.folder)).code == 0
    lines = "\n".join(world.network.torrc_lines)
    (made.folder / "torrc").write_text(f"{lines}\n")
    up = made.run("up", "--detach", str(made.folder))
    assert up.code == 0, up.err
    yield made
    made.run("down", str(made.folder))
    await_change(lambda: not made.processes())


def test_a_start_that_is_told_to_end_meanwhile_leaves_nothing(
    world: "World", tmp_path: Path
) -> None:
    dead = Own(world, tmp_path / "server")
    dead.run("init", str(dead.folder))
    (dead.folder / "torrc").write_text(
        "TestingTorNetwork 1\n"
        f"DirAuthority dead orport=1 v3ident={'A' * 40} 127.0.0.1:1 {'B' * 40}\n"
    )

    with world.runs("server", "up", str(dead.folder), XMPP_ONION_SOCKS="") as up:
        await_change(lambda: len(dead.processes()) == 2)  # it, and its Tor
        up.process.send_signal(signal.SIGTERM)
        up.process.send_signal(signal.SIGTERM)
        ended = up.wait()

    assert ended.code == 0
    assert dead.processes() == []


def test_who_starts_it_twice_learns_which_process_was_first(own: Own) -> None:
    done = own.run("up", str(own.folder), "--json")

    (error,) = done.lines
    assert done.code == 7
    keeper = (own.folder / "keeper").read_text()
    assert f"process {keeper} holds the folder" in str(error["why"])


def test_a_tor_of_its_own_tells_circuits(own: Own) -> None:
    status = own.run("status", str(own.folder), "--json")

    assert (status.code, status.lines[0]["circuits"]) == (0, True)


def checked(own: Own, *options: str) -> dict[str, dict[str, object]]:
    """Return what a check finds, by its name."""
    done = own.run("check", *options, str(own.folder), "--json")
    lines = {str(line["name"]): line for line in done.lines}
    assert done.code == max(int(str(line["code"])) for line in lines.values())
    return lines


def tell_tor(own: Own, command: str) -> None:
    """Tell the server's own Tor something, as nobody should."""

    async def tell() -> None:
        place = find_launched(own.folder / "tor")
        socks = Options.load(own.folder / "server.json").socks
        async with Tor.attach(socks, place) as tor:
            await (await tor._daemon.control()).ask(command)

    asyncio.run(tell())


def test_all_is_well_with_it_also_as_tor_sees_it(own: Own) -> None:
    lines = checked(own)

    assert [name for name, line in lines.items() if not line["ok"]] == []
    assert "asked for proof of work" in str(lines["published"]["what"])
    assert "circuits told" in str(lines["guards"]["what"])
    assert "answers through Tor" in str(lines["reach"]["what"])
    assert "each guest has limits" in str(lines["circuits"]["what"])


def test_a_certificate_that_is_not_the_one_that_is_shown_is_a_fault(own: Own) -> None:
    (file,) = (own.folder / "prosody" / "certs").glob("*.onion.crt")
    shown = file.read_bytes()
    _, other = make_certificate(OnionAddress(file.stem), now=datetime.now(UTC))
    file.write_bytes(other)
    try:
        lines = checked(own)
    finally:
        file.write_bytes(shown)

    assert not lines["reach"]["ok"]
    assert "another certificate" in str(lines["reach"]["what"])
    assert not lines["certificate"]["ok"]


def test_a_tor_that_was_told_otherwise_is_a_fault(own: Own) -> None:
    folder = own.folder / "onion-service"
    target = Options.load(own.folder / "server.json").ports.c2s_proxy
    tell_tor(
        own,
        f"SETCONF HiddenServiceDir={folder} "
        f'HiddenServicePort="5222 127.0.0.1:{target}" '
        "HiddenServiceExportCircuitID=haproxy",
    )

    def is_told() -> bool:
        nonlocal lines
        lines = checked(own)
        return not lines["published"]["ok"]

    lines: dict[str, dict[str, object]] = {}
    await_change(is_told)
    assert "proof of work" in str(lines["published"]["why"])
    assert "HiddenServiceMaxStreams is" in str(lines["guards"]["why"])
    own.run("down", str(own.folder))
    up = own.run("up", "--detach", str(own.folder))
    assert up.code == 0, up.err


def test_its_logs_are_kept_short_while_it_runs(own: Own) -> None:
    data = own.folder / "prosody" / "data"
    tor_log = own.folder / "tor" / "tor.log"
    flood = """
        local log = require "util.logger".init("test")
        for number = 1, 12000 do log("warn", "%s", ("x"):rep(99)) end
        return ""
    """
    asyncio.run(ask(data, flood))
    with tor_log.open("a") as file:
        file.write("x" * 99 + "\n" * 2**20)

    await_change((data / "prosody.old.log").exists)
    await_change(lambda: tor_log.stat().st_size < 2**20)

    assert own.run("status", str(own.folder)).code == 0


def test_a_hang_up_starts_it_again_as_what_it_is_to_be_now(own: Own) -> None:
    before = own.run("status", str(own.folder), "--json").lines[0]
    own.run("init", str(own.folder), "--federation", "off")

    os.kill(int((own.folder / "keeper").read_text()), signal.SIGHUP)

    def since() -> object:
        return own.run("status", str(own.folder), "--json").lines[0]["since"]

    await_change(lambda: since() not in {None, before["since"]})
    check = own.run("check", "--offline", str(own.folder), "--json")
    lines = {line["name"]: line for line in check.lines}
    assert lines["federation"]["what"] == "off: it talks to no other server"
    assert lines["listeners"]["ok"], lines["listeners"]


def test_nothing_outlives_a_keeper_that_was_killed(own: Own) -> None:
    first = own.processes()
    assert len(first) == 4, first  # keeper, server, Prosody, Tor

    os.kill(int((own.folder / "keeper").read_text()), signal.SIGKILL)
    up = own.run("up", "--detach", str(own.folder))

    assert up.code == 0, up.err
    assert not set(first) & set(own.processes())
    second = own.processes()
    assert len(second) == 4, second


def test_nothing_outlives_a_server_that_was_killed(own: Own) -> None:
    own.run("down", str(own.folder))
    arguments = ("server", "up", str(own.folder), "--json")
    with own.world.runs(*arguments, XMPP_ONION_SOCKS="") as up:
        assert up.line()["event"] == "server"
        first = own.processes()
        up.process.kill()
        up.wait()
        with own.world.runs(*arguments, XMPP_ONION_SOCKS="") as again:
            assert again.line()["event"] == "server"
            assert not set(first) & set(own.processes())
