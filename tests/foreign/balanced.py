"""Several Tors behind one onion name, as docs/howto/one-name-many-tors.md says.

On a private network in which Onionbalance keeps its usual times: it counts time periods
of a day, which Tor's testing networks have with votes each hour, and it needs eight
directories, without which it never ends to look for more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from xmpp_onion.address import OnionAddress
from xmpp_onion.testing import TorNetwork, torrc
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.testing.torcontrol import ControlConnection
from xmpp_onion.testing.tornet import until_uploaded
from xmpp_onion.transport.onion import create_key

__all__ = ["Backend", "Balanced", "balanced_network"]

_RELAYS = 9  # and the authority, which is a directory too
_PATIENCE = 120.0  # seconds until a Tor that is not there is an error
_CANDIDATES = 50  # names; one of two or three will not do
_CHUNK_BYTES = 65536


@asynccontextmanager
async def balanced_network() -> AsyncIterator[TorNetwork]:
    """Run a network that Onionbalance can publish in."""
    usual = torrc._AUTHORITY
    hourly = usual.replace(
        "\nV3AuthVotingInterval 1800", "\nV3AuthVotingInterval 3600"
    ).replace("V3AuthNIntervalsValid 48", "V3AuthNIntervalsValid 24")
    assert hourly != usual
    torrc._AUTHORITY = hourly
    try:
        async with TorNetwork(relays=_RELAYS) as network:
            yield network
    finally:
        torrc._AUTHORITY = usual


@dataclass(slots=True)
class Backend:
    """A Tor that brings people to a port, and who came by it.

    Attributes:
        address: Its own name, which nobody needs to know.
        process: The Tor.
        visits: How many connections it brought so far.
    """

    name: str
    port: int
    address: str = ""
    process: asyncio.subprocess.Process | None = None
    visits: int = 0

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take a connection to the port, and count it."""
        self.visits += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(  # noqa: TID251 - on loopback
                "127.0.0.1", self.port
            )
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(reader, far_writer))
            tasks.create_task(_pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # an end that was killed
    finally:
        writer.close()


class Balanced:
    """A name with backends; what Onionbalance needs is written by hand.

    Args:
        network: Where it is, of `balanced_network`.
        folder: Where its files are put.
        stack: Where its processes end.
        virtual: The port of the name.

    Attributes:
        key: The key of the name, in Tor's form.
        onion: The name.
        backends: The Tors behind it.
    """

    def __init__(
        self, network: TorNetwork, folder: Path, stack: AsyncExitStack, virtual: int = 7
    ) -> None:
        self._network, self._folder, self._stack = network, folder, stack
        self._virtual = virtual
        self._port = 0
        self.key = folder / "onion.key"
        self.backends: list[Backend] = []

    async def begin(self, python: str | Path) -> None:
        """Start the Tor of Onionbalance, and choose a name that it can publish.

        Args:
            python: The Python that has Onionbalance.
        """
        _, self._port, control = await self._tor("front")
        async with control, asyncio.timeout(_PATIENCE):
            await _bootstrapped(control)
        keys = [self._folder / f"{number}.key" for number in range(_CANDIDATES)]
        names = {str(create_key(key)): key for key in keys}
        script = Path(__file__).with_name("balanced_names.py")
        found = await asyncio.create_subprocess_exec(
            *(python, script, str(self._port), *names), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await found.communicate()
        name = out.decode().split()[-1]
        names[name].rename(self.key)
        self.onion = OnionAddress(name)

    async def add(self, name: str, port: int) -> Backend:
        """Start a Tor that leads to a port, and wait until it can be found.

        Onionbalance looks for its backends once when it starts, and then ten minutes
        later: one that is not there by then is missing for so long.
        """
        backend = Backend(name, port)
        server = await asyncio.start_server(backend.carry, "127.0.0.1", 0)
        await self._stack.enter_async_context(server)
        entrance = server.sockets[0].getsockname()[1]
        service = self._folder / name / "onion"
        service.mkdir(parents=True, mode=0o700)
        (service / "ob_config").write_text(f"MasterOnionAddress {self.onion}\n")
        backend.process, _, control = await self._tor(
            name,
            "DisableNetwork 1",  # until somebody listens to what it says of its onion
            f"HiddenServiceDir {service}",
            f"HiddenServicePort {self._virtual} 127.0.0.1:{entrance}",
            "HiddenServiceOnionbalanceInstance 1",
        )
        async with control, asyncio.timeout(_PATIENCE):
            backend.address = (service / "hostname").read_text().strip()
            await control.ask("SETEVENTS HS_DESC")
            await control.ask("SETCONF DisableNetwork=0")
            await until_uploaded(control.event, backend.address.removesuffix(".onion"))
        self.backends.append(backend)
        return backend

    async def balance(self, program: str | Path) -> None:
        """Start Onionbalance; its Tor knows the network by now.

        What it prints goes into ``onionbalance.log`` of the folder.
        """
        config = self._folder / "config.yaml"
        names = "".join(f"  - address: {each.address}\n" for each in self.backends)
        config.write_text(f"services:\n- instances:\n{names}  key: {self.key}\n")
        command = (program, "-v", "info", "-p", str(self._port), "-c", config)
        await self._run("onionbalance", *command, "-s", "/nonexistent")

    async def _tor(
        self, name: str, *lines: str
    ) -> tuple[asyncio.subprocess.Process, int, ControlConnection]:
        """Start a Tor; return it, its control port, and a connection to that."""
        data = self._folder / name / "data"
        await self._network.seed(data)
        (port,) = free_ports(1)
        ours = ("SocksPort 0", f"ControlPort {port}", "CookieAuthentication 1")
        place = f"DataDirectory {data}"
        file = self._folder / f"{name}.torrc"
        file.write_text(
            "\n".join((*self._network.torrc_lines, place, *ours, *lines, ""))
        )
        process = await self._run(
            name, "tor", "-f", file, "--defaults-torrc", "/dev/null"
        )
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    cookie = (data / "control_auth_cookie").read_bytes()
                    control = await ControlConnection.open(port, cookie)
                except OSError:
                    assert process.returncode is None, f"{name} ended"
                    await asyncio.sleep(0.1)
                else:
                    return process, port, control

    async def _run(self, name: str, *command: str | Path) -> asyncio.subprocess.Process:
        return await self._stack.enter_async_context(
            _process(self._folder / f"{name}.log", *command)
        )


async def _bootstrapped(control: ControlConnection) -> None:
    while True:
        (phase, *_) = await control.ask("GETINFO status/bootstrap-phase")
        if "PROGRESS=100" in phase:
            return
        await asyncio.sleep(0.2)


@asynccontextmanager
async def _process(
    log: Path, *command: str | Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, and end it."""
    with log.open("wb") as output:
        running = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output
        )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
