"""Dialing, launching and publishing on a real Tor network of our own."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    BootstrapError,
    ClientAuthorizationError,
    ControlPortError,
    DialError,
    OnionNotFoundError,
    OnionServiceError,
    TorNotRunningError,
)
from xmpp_onion.testing import TorNetwork, default_template
from xmpp_onion.transport import (
    Admission,
    Guard,
    Isolation,
    Published,
    Purpose,
    Tor,
    create_key,
    make_client_key,
)

pytestmark = pytest.mark.tornet

ALICE = Isolation("alice", Purpose.XMPP)
VIRTUAL_PORT = 5222
PASSWORD = 'se"cr\\et'
# The torrc lines of a network that has died out: nothing listens at port 1.
DEAD_NETWORK = (
    "TestingTorNetwork 1",
    f"DirAuthority dead orport=1 v3ident={'A' * 40} 127.0.0.1:1 {'B' * 40}",
)
# A child that launches a tor, tells its process id, and waits to be killed.
OWNER = """
import asyncio, sys
from pathlib import Path
from xmpp_onion.transport import Tor

async def main():
    async with Tor.launch(Path(sys.argv[1]), extra=sys.argv[2:]) as tor:
        print(tor._daemon.link.process.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def echo_port() -> AsyncIterator[int]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tor(tor_network: TorNetwork) -> AsyncIterator[Tor]:
    async with Tor.attach(tor_network.socks, tor_network.control) as attached:
        yield attached


@pytest_asyncio.fixture(loop_scope="session")
async def service_tor(tor_network: TorNetwork) -> AsyncIterator[Tor]:
    place = tor_network.service_socks, tor_network.service_control
    async with Tor.attach(*place) as attached:
        yield attached


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    create_key(tmp_path / "key")
    return tmp_path / "key"


async def _dial(tor: Tor, address: OnionAddress, isolation: Isolation) -> socket.socket:
    """Dial as a client does: what may be tried again is tried again."""
    for _ in range(10):
        try:
            return await tor.dial(address, VIRTUAL_PORT, isolation=isolation)
        except DialError as error:
            if not error.can_retry:
                raise
            await asyncio.sleep(0.5)
    return await tor.dial(address, VIRTUAL_PORT, isolation=isolation)


async def _is_echoed(tor: Tor, address: OnionAddress, isolation: Isolation) -> bool:
    with await _dial(tor, address, isolation) as sock:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"hello")
        return await loop.sock_recv(sock, 5) == b"hello"


async def _circuits(tor: Tor, isolation: Isolation) -> set[str]:
    """Return the numbers of the circuits that carry this isolation's streams."""
    user, _ = isolation.credentials()
    control = await tor._daemon.control()
    lines = "\n".join(await control.ask("GETINFO circuit-status")).splitlines()
    return {line.split()[0] for line in lines if f'SOCKS_USERNAME="{user}"' in line}


def _is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


# --- a Tor that runs already --------------------------------------------------------


async def test_a_running_tor_carries_us_to_a_service(
    tor: Tor, tor_network: TorNetwork, echo_port: int
) -> None:
    address = await tor_network.add_onion({VIRTUAL_PORT: echo_port})

    assert [percent async for percent, _ in tor.bootstrap()][-1] == 100
    assert await _is_echoed(tor, address, ALICE)


async def test_a_socks_port_alone_carries_us_too(
    tor_network: TorNetwork, echo_port: int
) -> None:
    address = await tor_network.add_onion({VIRTUAL_PORT: echo_port})

    async with Tor.attach(tor_network.socks) as tor:
        assert await _is_echoed(tor, address, ALICE)


async def test_accounts_and_purposes_do_not_share_circuits(
    tor: Tor, tor_network: TorNetwork, echo_port: int
) -> None:
    address = await tor_network.add_onion({VIRTUAL_PORT: echo_port})
    isolations = [
        ALICE,
        Isolation("bob", Purpose.XMPP),
        Isolation("alice", Purpose.FILES),
    ]

    with contextlib.ExitStack() as stack:
        for isolation in [*isolations, ALICE]:
            stack.enter_context(await _dial(tor, address, isolation))
        circuits = [await _circuits(tor, isolation) for isolation in isolations]

    assert all(circuits)
    assert not circuits[0] & circuits[1]
    assert not circuits[0] & circuits[2]
    assert not circuits[1] & circuits[2]


async def test_a_new_identity_takes_new_circuits(
    tor: Tor, tor_network: TorNetwork, echo_port: int
) -> None:
    address = await tor_network.add_onion({VIRTUAL_PORT: echo_port})
    isolation = Isolation("carol", Purpose.XMPP)
    with await _dial(tor, address, isolation):
        before = await _circuits(tor, isolation)

        await tor.new_identity()

        with await _dial(tor, address, isolation):
            assert await _circuits(tor, isolation) - before


async def test_a_service_that_does_not_exist_is_not_found(tor: Tor) -> None:
    nobody = OnionAddress.from_public_key(
        bytes.fromhex(
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        )
    )

    with pytest.raises(OnionNotFoundError) as caught:
        await tor.dial(nobody, VIRTUAL_PORT, isolation=ALICE)
    assert caught.value.reply == 0xF0


async def test_a_port_that_is_not_offered_is_told(
    tor: Tor, tor_network: TorNetwork, echo_port: int
) -> None:
    address = await tor_network.add_onion({VIRTUAL_PORT: echo_port})
    assert await _is_echoed(tor, address, ALICE)

    with pytest.raises(DialError, match="nothing on this port") as caught:
        await tor.dial(address, 7, isolation=ALICE)
    assert caught.value.reply == 0x05


# --- doors --------------------------------------------------------------------------


async def _refusal(tor: Tor, address: OnionAddress, turn: int) -> DialError | None:
    """Dial by a circuit of its own.

    What is known from before is forgotten, and so is the key, up to ten seconds later:
    Tor takes no more new identities than that.
    """
    await tor.new_identity()
    try:
        isolation = Isolation(f"stranger {turn}", Purpose.CHECK)
        (await tor.dial(address, VIRTUAL_PORT, isolation=isolation)).close()
    except DialError as error:
        return error
    return None


async def test_a_private_door_is_found_with_a_key_that_was_not_revoked_alone(
    tor: Tor, service_tor: Tor, key_file: Path, echo_port: int
) -> None:
    name = OnionAddress.from_public_key(os.urandom(32))  # published by nobody
    alice, bob = make_client_key(), make_client_key()
    guard = Guard.private([alice.public, bob.public])
    ports = {VIRTUAL_PORT: echo_port}
    async with service_tor.onion_service(key_file, ports, guard=guard) as service:
        stranger = await _refusal(tor, service.address, 0)
        tor.admit(name, Admission(service.address, make_client_key().private))
        forger = await _refusal(tor, name, 1)
        tor.admit(name, Admission(service.address, alice.private))
        isolation = Isolation("alice", Purpose.XMPP)
        staying = await tor.dial(name, VIRTUAL_PORT, isolation=isolation)
        with staying:
            await service.change_guard(Guard.private([bob.public]))
            revoked = await _refusal(tor, name, 2)
            # What was open before is open still, alice's too: closing it is
            # XMPP's business.
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(staying, b"still here")
            async with asyncio.timeout(60):
                assert await loop.sock_recv(staying, 100) == b"still here"
        tor.admit(name, Admission(service.address, bob.private))
        assert await _is_echoed(tor, name, Isolation("bob", Purpose.XMPP))

    assert isinstance(stranger, ClientAuthorizationError)
    assert stranger.reply == 0xF4  # no key shown
    assert isinstance(forger, ClientAuthorizationError)
    assert forger.reply == 0xF5  # one that is not known
    assert isinstance(revoked, ClientAuthorizationError)
    assert revoked.reply == 0xF5


async def _read_back(tor: Tor, address: OnionAddress) -> Published:
    """Read back what may not be at every directory yet."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await tor.look_up(address)
            except OnionNotFoundError:
                await asyncio.sleep(0.5)


async def test_what_is_published_can_be_read_back(
    tor: Tor, service_tor: Tor, key_file: Path, echo_port: int
) -> None:
    ports = {VIRTUAL_PORT: echo_port}
    found = []
    guards = (
        Guard(), Guard.public(), Guard.private([make_client_key().public])
    )  # fmt: skip
    for number, guard in enumerate(guards):
        key = key_file.with_name(f"key-{number}")
        address = create_key(key)
        async with service_tor.onion_service(key, ports, guard=guard):
            found.append(await _read_back(tor, address))
    with pytest.raises(OnionNotFoundError) as caught:
        await tor.look_up(create_key(key_file.with_name("unpublished")))

    assert [one.is_readable for one in found] == [True, True, False]
    assert [one.has_work for one in found] == [False, True, False]
    assert [one.introductions > 0 for one in found] == [True, True, False]
    assert "NOT_FOUND" in caught.value.why


async def test_a_public_door_has_its_defences(
    tor: Tor, service_tor: Tor, key_file: Path, echo_port: int
) -> None:
    ports = {VIRTUAL_PORT: echo_port}
    guard = Guard.public()
    async with service_tor.onion_service(key_file, ports, guard=guard) as service:
        assert service.guard.asks_for_work
        assert await _is_echoed(tor, service.address, ALICE)


# --- services of ours ---------------------------------------------------------------


async def test_a_service_comes_back_under_its_name(
    tor: Tor, service_tor: Tor, key_file: Path, echo_port: int
) -> None:
    addresses = set()
    for turn in range(2):
        ports = {VIRTUAL_PORT: echo_port}
        async with service_tor.onion_service(key_file, ports) as service:
            addresses.add(service.address)
            assert await _is_echoed(
                tor, service.address, Isolation(f"{turn}", Purpose.XMPP)
            )
        await tor.new_identity()  # forget the descriptor

    assert len(addresses) == 1


async def test_an_address_cannot_be_published_twice(
    service_tor: Tor, key_file: Path, echo_port: int
) -> None:
    ports = {VIRTUAL_PORT: echo_port}
    async with service_tor.onion_service(key_file, ports):
        second = service_tor.onion_service(key_file, ports)

        with pytest.raises(OnionServiceError, match="publishes it already"):
            await second.__aenter__()


async def test_one_tor_publishes_many_services_at_once(
    tor: Tor, service_tor: Tor, tmp_path: Path, echo_port: int
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        services = []
        for number in range(3):
            create_key(tmp_path / f"key{number}")
            service = service_tor.onion_service(
                tmp_path / f"key{number}", {VIRTUAL_PORT: echo_port}
            )
            services.append(stack.enter_async_context(service))
        for service in await asyncio.gather(*services):
            assert await _is_echoed(tor, service.address, ALICE)


# --- a Tor of our own ---------------------------------------------------------------


async def test_our_own_tor_bootstraps_publishes_and_leaves_nothing(
    tor: Tor, tor_network: TorNetwork, tmp_path: Path, key_file: Path, echo_port: int
) -> None:
    await tor_network.seed(tmp_path / "data")
    threads = set(threading.enumerate())

    async with Tor.launch(tmp_path / "data", extra=tor_network.torrc_lines) as ours:
        assert ours._daemon.link.process
        pid = ours._daemon.link.process.pid
        percents = [percent async for percent, _ in ours.bootstrap()]
        async with ours.onion_service(key_file, {VIRTUAL_PORT: echo_port}) as service:
            assert await _is_echoed(tor, service.address, ALICE)
            assert await _is_echoed(ours, service.address, ALICE)

    assert percents == sorted(set(percents))
    assert percents[-1] == 100
    assert not _is_running(pid)
    left = [t.name for t in set(threading.enumerate()) - threads if t.is_alive()]
    assert not [name for name in left if not name.startswith("asyncio-waitpid")]


async def test_a_second_tor_in_the_same_folder_is_refused(
    tor_network: TorNetwork, tmp_path: Path
) -> None:
    extra = tor_network.torrc_lines
    async with Tor.launch(tmp_path / "data", extra=extra) as ours:
        second = Tor.launch(tmp_path / "data", extra=extra)

        with pytest.raises(TorNotRunningError, match="another tor of ours"):
            await second.__aenter__()

        await ours.new_identity()  # the first lives on


async def test_a_bad_torrc_line_is_quoted(tmp_path: Path) -> None:
    nonsense = Tor.launch(tmp_path / "data", extra=["NoSuchOption 1"])

    with pytest.raises(TorNotRunningError, match="NoSuchOption"):
        await nonsense.__aenter__()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_tor_of_ours_that_dies_is_started_again(
    how: signal.Signals, tor_network: TorNetwork, tmp_path: Path, echo_port: int
) -> None:
    address = await tor_network.add_onion({VIRTUAL_PORT: echo_port})
    await tor_network.seed(tmp_path / "data")
    async with Tor.launch(tmp_path / "data", extra=tor_network.torrc_lines) as ours:
        assert await _is_echoed(ours, address, ALICE)
        first = await _end_child(ours, how)

        assert await _is_echoed(ours, address, ALICE)

        second = await _end_child(ours, how)
        await ours.new_identity()
        assert first != second
    assert not [pid for pid in _pids() if str(tmp_path) in _command_line(pid)]


async def _end_child(tor: Tor, how: signal.Signals) -> int:
    process = tor._daemon.link.process
    assert process
    process.send_signal(how)
    await process.wait()
    return process.pid


async def test_a_service_of_a_tor_that_dies_is_published_again(
    tor: Tor, tor_network: TorNetwork, tmp_path: Path, key_file: Path, echo_port: int
) -> None:
    await tor_network.seed(tmp_path / "data")
    async with (
        Tor.launch(tmp_path / "data", extra=tor_network.torrc_lines) as ours,
        ours.onion_service(key_file, {VIRTUAL_PORT: echo_port}) as service,
    ):
        assert await _is_echoed(tor, service.address, ALICE)
        await _end_child(ours, signal.SIGKILL)
        async with asyncio.timeout(60):
            await _until(lambda: "not published" in repr(service))
            await _until(lambda: "not published" not in repr(service))

        await tor.new_identity()  # forget the descriptor
        assert await _is_echoed(tor, service.address, ALICE)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing of ours to wait for
        await asyncio.sleep(0.01)


async def test_a_tor_without_a_network_is_a_bootstrap_error(tmp_path: Path) -> None:
    async with Tor.launch(tmp_path / "data", extra=DEAD_NETWORK) as ours:
        with pytest.raises(BootstrapError) as caught:
            async for _ in ours.bootstrap(patience=3):
                pass

    assert 0 <= caught.value.percent < 100
    assert "stuck at" in caught.value.why


async def test_a_tor_that_is_killed_while_starting_is_a_bootstrap_error(
    tmp_path: Path,
) -> None:
    async with Tor.launch(tmp_path / "data", extra=DEAD_NETWORK) as ours:
        progress = ours.bootstrap()
        await anext(progress)
        assert ours._daemon.link.process
        ours._daemon.link.process.kill()

        with pytest.raises(BootstrapError):
            async for _ in progress:
                pass


async def test_a_real_control_port_lets_in_by_cookie_socket_or_password(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "control"
    folder.mkdir(mode=0o700)
    extra = [
        *DEAD_NETWORK,
        f"HashedControlPassword {_hashed(PASSWORD)}",
        f"ControlPort unix:{folder}/socket",
    ]
    async with Tor.launch(tmp_path / "data", extra=extra) as ours:
        place = (await ours._daemon.control())._place
        for password in None, PASSWORD:
            for control in place, folder / "socket":
                async with Tor.attach(ours.socks, control, password=password) as tor:
                    await tor.new_identity()

        with pytest.raises(ControlPortError, match="the password is wrong"):
            await Tor.attach(ours.socks, place, password="wrong").__aenter__()


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1])
async def test_a_start_may_be_cancelled_at_any_moment(
    delay: float, tmp_path: Path
) -> None:
    async def start() -> None:
        async with Tor.launch(tmp_path / "data", extra=DEAD_NETWORK):
            await asyncio.sleep(60)

    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(start())
        await asyncio.sleep(delay)
        starting.cancel()

    assert starting.cancelled()
    assert not [pid for pid in _pids() if str(tmp_path) in _command_line(pid)]


def test_tor_goes_with_its_owner_even_after_sigkill(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "data"), *DEAD_NETWORK],
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        assert _is_running(pid)

        owner.send_signal(signal.SIGKILL)
        owner.wait()

        # Far less than the 15 s at which tor looks for its owner by itself.
        for _ in range(300):
            if not _is_running(pid):
                break
            threading.Event().wait(0.01)
        assert not _is_running(pid)


def _hashed(password: str) -> str:
    tor = shutil.which("tor") or "tor"
    return subprocess.run(
        [tor, "--quiet", "--hash-password", password],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def _pids() -> list[int]:
    names = [entry.name for entry in Path("/proc").iterdir()]
    return [int(name) for name in names if name.isdigit()]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


# --- a Tor that is killed and comes back --------------------------------------------


async def test_an_attached_tor_may_die_and_come_back(echo_port: int) -> None:
    async with TorNetwork(template=default_template()) as network:
        address = await network.add_onion({VIRTUAL_PORT: echo_port})
        async with Tor.attach(network.socks, network.control) as tor:
            assert await _is_echoed(tor, address, ALICE)

            await network.kill("client")
            with pytest.raises(TorNotRunningError):
                await tor.dial(address, VIRTUAL_PORT, isolation=ALICE)

            await network.restart("client")
            assert await _is_echoed(tor, address, ALICE)
            await tor.new_identity()
