"""The private network itself: what it offers, and that nothing is left of it."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.bench import first_byte
from xmpp_onion.errors import BootstrapError, TorNotFoundError, TorNotRunningError
from xmpp_onion.testing import TorNetwork, torfleet, tornet
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.testing.tortemplate import Layout

pytestmark = pytest.mark.tornet

GREETING = b"reached\n"
# What a shell starts in the background has SIGINT ignored, and so have its children.
OWNER = """
import asyncio, signal
from pathlib import Path
from xmpp_onion.testing import TorNetwork

async def main():
    say = lambda phrase, _: print(phrase, flush=True)
    async with TorNetwork(on_progress=say, template=Path({template!r})) as network:
        print("up", *(network.pid(node) for node in network.nodes), flush=True)
        await asyncio.Event().wait()

signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main())
"""


@asynccontextmanager
async def greeter() -> AsyncIterator[int]:
    """Serve a greeting on the loopback port that it yields."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def reach(socks: str, onion: OnionAddress, port: int = 7) -> bytes:
    """Return what a service says, or the SOCKS reply code that denies it."""
    host, _, socks_port = socks.partition(":")
    reader, writer = await asyncio.open_connection(host, int(socks_port))  # noqa: TID251 - to our own SOCKS port
    try:
        name = onion.encode()
        request = b"\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big")
        writer.write(b"\5\1\0" + request)
        await reader.readexactly(2)
        reply = await reader.readexactly(10)
        return await reader.readline() if reply[1] == 0 else reply[1:2]
    finally:
        writer.close()
        await writer.wait_closed()


async def reach_published(socks: str, onion: OnionAddress) -> bytes:
    """Reach a service that a directory may not have the descriptor of yet."""
    async with asyncio.timeout(60):
        while (answer := await reach(socks, onion)) == b"\xf0":  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.2)
    return answer


def processes_in(folder: Path) -> list[int]:
    """Return the ids of all processes that have the folder in their command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command and int(entry.parent.name) != os.getpid():
            found.append(int(entry.parent.name))
    return found


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until_gone(*pids: int, limit: float = 12.0) -> None:
    """Wait, for less than the 15 s between tor's own looks at its owner, or longer."""
    async with asyncio.timeout(limit):
        for pid in pids:
            while is_running(pid):  # noqa: ASYNC110 - no event tells of another's child
                await asyncio.sleep(0.05)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let networks put their files into a folder that the test can look at."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def make_relay2_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Return a function that puts a line of shell in the place of relay2's tor."""
    program = tmp_path / "bin" / "tor"
    program.parent.mkdir()
    case = f'case "$2" in */relay2/torrc) {{}};; esac; exec {shutil.which("tor")} "$@"'
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def write(line: str) -> None:
        program.write_text(f"#!/bin/sh\n{case.format(line)}\n")
        program.chmod(0o755)

    return write


# --- what it offers -----------------------------------------------------------


async def test_a_client_reaches_a_service(tor_network: TorNetwork) -> None:
    async with greeter() as port:
        onion = await tor_network.add_onion({7: port})

        assert await reach(tor_network.socks, onion) == GREETING


async def test_a_removed_service_is_served_no_more(tor_network: TorNetwork) -> None:
    onion = await tor_network.add_onion({7: 1})

    await tor_network.remove_onion(onion)

    async with await tor_network._fleet["service"].control() as control:
        served = await control.ask("GETINFO onions/detached")
    assert onion.removesuffix(".onion") not in "\n".join(served)


async def test_a_virtual_port_that_is_not_served_is_refused(
    tor_network: TorNetwork,
) -> None:
    onion = await tor_network.add_onion({7: 1})

    # An HSDir may not have the descriptor yet when the client asks it: 0xF0.
    answer = b"\xf0"
    while answer == b"\xf0":
        answer = await reach(tor_network.socks, onion, port=8)

    assert answer == b"\5"


async def test_a_killed_relay_comes_back(tor_network: TorNetwork) -> None:
    before = tor_network.pid("relay1")

    await tor_network.kill("relay1")
    assert tor_network.pid("relay1") is None
    await tor_network.restart("relay1")

    assert tor_network.pid("relay1") not in {None, before}


async def test_a_restarted_service_is_reached_under_its_old_name(
    tor_network: TorNetwork,
) -> None:
    async with greeter() as port:
        onion = await tor_network.add_onion({7: port})
        assert await reach_published(tor_network.socks, onion) == GREETING

        await tor_network.restart("service")
        await tor_network.newnym()  # else the client knows the old way to it

        assert await reach_published(tor_network.socks, onion) == GREETING


async def test_a_restarted_client_keeps_its_ports(tor_network: TorNetwork) -> None:
    before = tor_network.socks, tor_network.control

    await tor_network.restart("client")

    assert (tor_network.socks, tor_network.control) == before
    async with greeter() as port:
        onion = await tor_network.add_onion({7: port})
        assert await reach_published(tor_network.socks, onion) == GREETING


async def test_another_tor_joins(tor_network: TorNetwork, tmp_path: Path) -> None:
    await tor_network.seed(tmp_path / "data")
    torrc = tmp_path / "torrc"
    lines = (
        *tor_network.torrc_lines,
        f"DataDirectory {tmp_path}/data",
        "SocksPort 0",
        f"__OwningControllerProcess {os.getpid()}",
    )
    torrc.write_text("\n".join(lines))

    tor = await asyncio.create_subprocess_exec(
        *("tor", "-f", str(torrc), "--defaults-torrc", os.devnull),
        stdout=asyncio.subprocess.PIPE,
    )

    try:
        assert tor.stdout is not None
        async with asyncio.timeout(30):
            while b"Bootstrapped 100%" not in (line := await tor.stdout.readline()):
                assert line, "tor has ended"
    finally:
        tor.kill()
        await tor.communicate()


async def test_no_tor_believes_that_it_belongs_to_our_process_alone(
    tor_network: TorNetwork,
) -> None:
    """Or stem, which looks for its own process id, ends it when it hangs up."""
    for node in tor_network.nodes:
        async with await tor_network._fleet[node].control() as control:
            answer = await control.ask("GETCONF __OwningControllerProcess")

        assert answer == ["__OwningControllerProcess"]


async def test_every_node_has_a_log(tor_network: TorNetwork) -> None:
    logs = tor_network.collect_logs()

    assert tuple(logs) == tor_network.nodes
    assert all("opening log file" in text or "Tor 0." in text for text in logs.values())


async def test_an_unknown_node_is_named_with_the_known_ones(
    tor_network: TorNetwork,
) -> None:
    with pytest.raises(ValueError, match=r"no node 'relay9'; there are: auth0, relay0"):
        await tor_network.kill("relay9")


# --- the template ---------------------------------------------------------------


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template")


async def start_and_reach(template: Path) -> list[str]:
    """Return the phrases of a start that led to a service."""
    phrases: list[str] = []
    network = TorNetwork(
        template=template, on_progress=lambda phrase, _: phrases.append(phrase)
    )
    async with greeter() as port, network:
        onion = await network.add_onion({7: port})
        assert await reach(network.socks, onion) == GREETING
    return phrases


async def test_two_networks_start_at_once_from_one_template(template: Path) -> None:
    for makes_keys in (True, False):
        async with asyncio.TaskGroup() as group:
            starts = [group.create_task(start_and_reach(template)) for _ in range(2)]

        assert [("making keys" in s.result()) for s in starts] == [makes_keys] * 2


async def test_no_byte_comes_sooner_than_the_links_of_a_circuit_say(
    template: Path,
) -> None:
    phrases: list[str] = []
    network = TorNetwork(
        first_byte.HOP_DELAY,
        template=template,
        on_progress=lambda phrase, _: phrases.append(phrase),
    )
    async with network:
        found = await first_byte.measure(network, rounds=1)

    assert "making keys" not in phrases  # a template serves with a delay, too
    there_and_back = 2 * first_byte.FEWEST_LINKS * first_byte.HOP_DELAY
    assert found.round_trip >= there_and_back
    for sample in (found.warm, found.new):
        assert len(sample.waiting) == len(sample.at_once) == 1
        assert min(sample.waiting) >= 2 * there_and_back
        assert min(sample.at_once) >= there_and_back


@contextmanager
def taken_port(port: int = 0) -> Iterator[int]:
    """Listen on a port, and answer nobody."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        yield sock.getsockname()[1]


def first_slot(template: Path) -> Path:
    return min(template.iterdir())


async def test_a_taken_port_leads_to_a_new_network(template: Path) -> None:
    layout = Layout.from_json((first_slot(template) / "layout.json").read_text())
    with taken_port(layout.ports["relay3"][0]):
        phrases = await start_and_reach(template)

    assert "making keys" in phrases


async def test_a_broken_template_leads_to_a_new_network(template: Path) -> None:
    key = first_slot(template) / "auth0" / "keys" / "authority_certificate"
    key.write_bytes(b"broken")

    phrases = await start_and_reach(template)

    assert "making keys" in phrases


async def test_a_port_taken_at_the_last_moment_costs_a_second_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = 0

    def choose(count: int) -> list[int]:
        nonlocal tries
        tries += 1
        return [taken, *free_ports(count - 1)] if tries == 1 else free_ports(count)

    monkeypatch.setattr(torfleet, "free_ports", choose)
    with taken_port() as taken:
        async with TorNetwork():
            pass

    assert tries == 2


@pytest.mark.usefixtures("scratch")
async def test_a_port_taken_from_a_delay_is_told_as_one_taken_from_tor() -> None:
    fleet = torfleet.TorFleet(4, hop_delay=0.001, progress=lambda *_: None)
    fleet.lay_out()
    last = fleet.relays()[-1].plan.or_port

    with taken_port(last), pytest.raises(TorNotRunningError, match=tornet._PORT_TAKEN):
        await fleet.prepare()

    await fleet.clear()


# --- what is left of it -----------------------------------------------------------


@pytest.mark.parametrize("phrase", ["making keys", "relays started", "voting"])
async def test_a_cancelled_start_leaves_nothing(scratch: Path, phrase: str) -> None:
    reached = asyncio.Event()

    def watch(now: str, _: float) -> None:
        if now == phrase:
            reached.set()

    async def start() -> None:
        async with TorNetwork(on_progress=watch):
            raise AssertionError("it was to be cancelled")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(start())
        await reached.wait()
        await asyncio.sleep(0.2)  # into the middle of what comes next
        running = processes_in(scratch)
        task.cancel()

    assert running
    assert processes_in(scratch) == []
    assert left_in(scratch) == []


async def start_owner(template: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER.format(template=str(template))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def read_until(process: asyncio.subprocess.Process, word: str) -> list[str]:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            if line.startswith(word):
                return line.split()
    raise AssertionError(f"the owner ended before it said {word!r}")


@pytest.mark.usefixtures("scratch")
async def test_no_process_outlives_an_owner_that_is_killed(template: Path) -> None:
    owner = await start_owner(template)
    pids = [int(pid) for pid in (await read_until(owner, "up"))[1:]]
    assert all(map(is_running, pids))

    owner.kill()
    await owner.communicate()

    await until_gone(*pids)
    assert len(pids) == 7


async def test_the_next_network_removes_the_files_of_a_killed_owner(
    scratch: Path, template: Path
) -> None:
    owner = await start_owner(template)
    pids = [int(pid) for pid in (await read_until(owner, "up"))[1:]]
    owner.kill()
    await owner.communicate()
    await until_gone(*pids, limit=60)  # and their ports, which the template needs
    assert left_in(scratch)

    await start_and_reach(template)

    assert left_in(scratch) == []


@pytest.mark.parametrize("word", ["relays", "up"])
async def test_ctrl_c_leaves_nothing(scratch: Path, template: Path, word: str) -> None:
    owner = await start_owner(template)
    await read_until(owner, word)

    owner.send_signal(signal.SIGINT)
    await owner.communicate()

    assert owner.returncode not in {0, None}
    assert processes_in(scratch) == []
    assert left_in(scratch) == []


# --- what can go wrong ------------------------------------------------------------


@pytest.mark.parametrize("missing", ["tor", "tor-gencert"])
async def test_a_missing_program_is_named_with_the_cure(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in {"tor", "tor-gencert"} - {missing}:
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(TorNotFoundError, match=rf"program {missing} .*apt-get install"):
        await TorNetwork().__aenter__()


async def test_a_node_that_dies_hands_over_its_last_words(
    scratch: Path, make_relay2_run: Callable[[str], None]
) -> None:
    make_relay2_run("echo the last words; exit 3")

    with pytest.raises(TorNotRunningError, match=r"(?s)relay2 .*3.*the last words"):
        await TorNetwork().__aenter__()

    assert processes_in(scratch) == []
    assert left_in(scratch) == []


async def test_a_start_that_takes_too_long_ends_with_all_logs(
    scratch: Path,
    make_relay2_run: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_relay2_run("echo I take my time; exec sleep 600")
    # A busy machine takes seconds until a process says its first word.
    monkeypatch.setattr(tornet, "_START_LIMIT", 12.0)

    with pytest.raises(BootstrapError, match=r"(?s)\[auth0\].*\[relay2\]\nI take my"):
        await TorNetwork().__aenter__()

    assert left_in(scratch) == []
