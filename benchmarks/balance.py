"""One onion name, two Tor processes behind it, one of them killed.

    pip install onionbalance   # in an environment of its own; we never import it
    python benchmarks/balance.py --program …/bin/onionbalance

A private network in which Onionbalance keeps its usual times: it counts time periods
of a day, which Tor's testing networks have with votes each hour, and it needs eight
directories, without which it never ends to look for more. Prints who answered, before
and after one of both was killed.
"""

import argparse
import asyncio
import collections
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from xmpp_onion.address import OnionAddress
from xmpp_onion.testing import TorNetwork, torrc
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.transport.onion import create_key

RELAYS = 9  # and the authority, which is a directory too
VISITS = 20
PATIENCE = 180.0  # seconds until the name must be reachable
_FLIGHT = 5
_numbers = itertools.count()


async def visit(socks: str, onion: OnionAddress) -> str:
    """Come through Tor, by a circuit of our own, and return who answered.

    Source: SOCKS5 with user and password (RFC 1928, 1929), by which Tor isolates.
    """
    host, _, port = socks.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))  # noqa: TID251 - to our own SOCKS port
    try:
        user, name = f"visitor{next(_numbers)}".encode(), onion.encode()
        writer.write(b"\5\1\2")
        await reader.readexactly(2)
        writer.write(b"\1" + bytes([len(user)]) + user + b"\1x")
        await reader.readexactly(2)
        writer.write(b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\7")
        reply = await reader.readexactly(10)
        if reply[1] != 0:
            return f"refused, {reply[1]:#x}"
        return (await reader.readline()).decode().strip() or "nobody"
    except asyncio.IncompleteReadError:
        return "cut"
    finally:
        writer.close()


@asynccontextmanager
async def process(*command: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, and end it."""
    quiet = asyncio.subprocess.DEVNULL
    running = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


class Balanced:
    """A name with backends; what Onionbalance needs is written by hand.

    Args:
        network: Where it is.
        folder: Where its files are put.
        stack: Where its processes end.
    """

    def __init__(
        self, network: TorNetwork, folder: Path, stack: AsyncExitStack
    ) -> None:
        self._network, self._folder, self._stack = network, folder, stack
        self.key = folder / "master.key"
        self.onion = create_key(self.key)
        self.backends: dict[str, asyncio.subprocess.Process] = {}
        self._names: list[str] = []

    async def add(self, name: str) -> None:
        """Start a Tor whose service says its name."""

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name}\n".encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        await self._stack.enter_async_context(server)
        port = server.sockets[0].getsockname()[1]
        service = self._folder / name / "onion"
        service.mkdir(parents=True, mode=0o700)
        (service / "ob_config").write_text(f"MasterOnionAddress {self.onion}\n")
        self.backends[name] = await self._tor(
            name,
            f"HiddenServiceDir {service}",
            f"HiddenServicePort 7 127.0.0.1:{port}",
            "HiddenServiceOnionbalanceInstance 1",
        )
        while not (service / "hostname").exists():  # noqa: ASYNC110 - tor tells nobody
            await asyncio.sleep(0.1)
        self._names.append((service / "hostname").read_text().strip())

    async def balance(self, program: str) -> None:
        """Start Onionbalance with a Tor of its own."""
        (port,) = free_ports(1)
        await self._tor("front", f"ControlPort {port}", "CookieAuthentication 1")
        config = self._folder / "config.yaml"
        instances = "".join(f"  - address: {name}\n" for name in self._names)
        config.write_text(f"services:\n- instances:\n{instances}  key: {self.key}\n")
        command = (program, "-p", str(port), "-c", config, "-s", "/nonexistent")
        await asyncio.sleep(5)  # its Tor has to know the network first
        await self._stack.enter_async_context(process(*command))

    async def _tor(self, name: str, *lines: str) -> asyncio.subprocess.Process:
        data = self._folder / name / "data"
        await self._network.seed(data)
        file = self._folder / f"{name}.torrc"
        common = (*self._network.torrc_lines, f"DataDirectory {data}", "SocksPort 0")
        file.write_text("\n".join((*common, *lines, "")))
        return await self._stack.enter_async_context(process("tor", "-f", file))


async def visit_often(socks: str, onion: OnionAddress) -> str:
    """Return who answered how often, and how long that took."""
    seconds: list[float] = []
    answers: collections.Counter[str] = collections.Counter()

    async def once() -> None:
        start = time.perf_counter()
        answers[await visit(socks, onion)] += 1
        seconds.append(time.perf_counter() - start)

    for _ in range(VISITS // _FLIGHT):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_FLIGHT):
                tasks.create_task(once())
    shown = ", ".join(f"{who}: {count}" for who, count in sorted(answers.items()))
    return (
        f"{shown}; median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s"
    )


async def main(program: str) -> None:
    """Build it, and kill one."""
    hourly = torrc._AUTHORITY.replace(  # noqa: SLF001 - nobody else needs another interval
        "\nV3AuthVotingInterval 1800", "\nV3AuthVotingInterval 3600"
    ).replace("V3AuthNIntervalsValid 48", "V3AuthNIntervalsValid 24")
    torrc._AUTHORITY = hourly  # noqa: SLF001
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = await stack.enter_async_context(TorNetwork(relays=RELAYS))
        balanced = Balanced(network, folder, stack)
        for name in ("one", "two"):
            await balanced.add(name)
        start = time.perf_counter()
        await balanced.balance(program)
        async with asyncio.timeout(PATIENCE):
            while await visit(network.socks, balanced.onion) not in balanced.backends:  # noqa: ASYNC110 - nor Onionbalance
                await asyncio.sleep(5)
        print(f"reachable after {time.perf_counter() - start:.0f} s")
        print(f"both: {await visit_often(network.socks, balanced.onion)}")
        balanced.backends["one"].kill()
        print(f"one killed: {await visit_often(network.socks, balanced.onion)}")
        print(f"later: {await visit_often(network.socks, balanced.onion)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="onionbalance")
    asyncio.run(main(parser.parse_args().program))
