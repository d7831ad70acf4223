"""What an honest client waits while an onion is flooded with introductions.

    python benchmarks/introductions.py [--flood 40] [--rate 5] [--minutes 8]

On a private network: a flood through a Tor of its own asks for the onion as often as
it can, with a circuit each, and an honest client connects beside it, each time with a
new circuit as well: first without a flood, then to an onion without proof of work, then
to one with it. Tor looks at its queue every five minutes; so long nothing is asked for.
Everything shares the cores of one machine, so the flood costs the honest client time by
itself: compare the rows. Prints a table for docs/reference/performance.md.
"""

import argparse
import asyncio
import contextlib
import itertools
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from xmpp_onion.testing import TorNetwork, default_template
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.testing.torcontrol import ControlConnection
from xmpp_onion.testing.tornet import until_uploaded

LIMIT = 60.0  # seconds that a client of ours waits for a connection
PAUSE = 1.0  # between two of the honest client
_numbers = itertools.count()


async def connect(socks: str, onion: str) -> bool:
    """Come through Tor by a circuit of our own; return whether that worked.

    Source: SOCKS5 with user and password (RFC 1928, 1929), by which Tor isolates.
    """
    host, _, port = socks.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))  # noqa: TID251 - to our own SOCKS port
    try:
        user, name = f"visitor{next(_numbers)}".encode(), f"{onion}.onion".encode()
        writer.write(b"\5\1\2")
        await reader.readexactly(2)
        writer.write(b"\1" + bytes([len(user)]) + user + b"\1x")
        await reader.readexactly(2)
        writer.write(b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\7")
        reply = await reader.readexactly(10)
        return reply[1] == 0
    except (asyncio.IncompleteReadError, OSError):
        return False
    finally:
        writer.close()


class Measure:
    """What happened in one phase."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.seconds: list[float] = []
        self.failed = self.flood = 0
        self.began = time.monotonic()

    async def visit(self, socks: str, onion: str, until: float) -> None:
        """Be the honest client."""
        while time.monotonic() < until:
            start = time.perf_counter()
            try:
                async with asyncio.timeout(LIMIT):
                    came = await connect(socks, onion)
            except TimeoutError:
                came = False
            if came:
                self.seconds.append(time.perf_counter() - start)
            else:
                self.failed += 1
            await asyncio.sleep(PAUSE)

    async def attack(self, socks: str, onion: str, until: float) -> None:
        """Be one of the flood: give up after two seconds, and come again."""
        while time.monotonic() < until:
            self.flood += 1
            try:
                async with asyncio.timeout(2):
                    await connect(socks, onion)
            except TimeoutError:
                pass

    def row(self, effort: str) -> str:
        """Return it in markdown."""
        rate = self.flood / (time.monotonic() - self.began)
        if not self.seconds:
            return f"| {self.title} | {rate:.0f} | 0 | {self.failed} | | | {effort} |"
        ordered = sorted(self.seconds)
        most = ordered[int(len(ordered) * 0.9)]
        return (
            f"| {self.title} | {rate:.0f} | {len(ordered)} | {self.failed} | "
            f"{statistics.median(ordered):.2f} s | {most:.2f} s | {effort} |"
        )


@asynccontextmanager
async def attacker(network: TorNetwork, folder: Path) -> AsyncIterator[str]:
    """Run a Tor for the flood alone; yield its SOCKS port."""
    await network.seed(folder / "data")
    (port,) = free_ports(1)
    file = folder / "torrc"
    place = (f"DataDirectory {folder / 'data'}", f"SocksPort {port}")
    file.write_text("\n".join((*network.torrc_lines, *place, "")))
    quiet = asyncio.subprocess.DEVNULL
    tor = await asyncio.create_subprocess_exec(
        *("tor", "-f", file, "--defaults-torrc", "/dev/null"), stdout=quiet
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        tor.kill()
        await tor.wait()


async def publish(control: ControlConnection, port: int, *options: str) -> str:
    """Publish an onion that leads to a port; return its name."""
    await control.ask("SETEVENTS HS_DESC")
    flags = "Flags=DiscardPK,Detach"
    line = f"ADD_ONION NEW:ED25519-V3 {flags} Port=7,127.0.0.1:{port}"
    answer = await control.ask(" ".join((line, *options)))
    onion = answer[0].partition("=")[2]
    await until_uploaded(control.event, onion)
    await control.ask("SETEVENTS")
    return onion


async def read_effort(port: int, onion: str) -> str:
    """Return the work that the onion asks for now (Tor's MetricsPort)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own Tor
    try:
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = ""
        with contextlib.suppress(TimeoutError):  # Tor leaves the connection open
            async with asyncio.timeout(2):
                while data := await reader.read(65536):
                    text += data.decode()
    finally:
        writer.close()
    found = re.search(
        rf"^tor_hs_pow_suggested_effort.*{onion}.* (\d+)$", text, re.MULTILINE
    )
    return found[1] if found else "none"


async def phase(
    title: str, socks: str, flood: str, onion: str, *, many: int, seconds: float
) -> Measure:
    """Let the honest client come, and the flood beside it."""
    measure, until = Measure(title), time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(measure.visit(socks, onion, until))
        for _ in range(many):
            tasks.create_task(measure.attack(flood, onion, until))
    return measure


async def main() -> None:
    """Flood it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flood", type=int, default=40, help="how many at once")
    parser.add_argument("--rate", type=int, default=5, help="PoWQueueRate")
    parser.add_argument("--minutes", type=int, default=8, help="with proof of work")
    chosen = parser.parse_args()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    (metrics,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            server,
            TorNetwork(relays=8, template=default_template()) as network,
            attacker(network, Path(folder)) as flood,
            await network._fleet["service"].control() as control,  # noqa: SLF001 - nobody else needs it
        ):
            await control.ask(
                f"SETCONF MetricsPort=127.0.0.1:{metrics} "
                'MetricsPortPolicy="accept 127.0.0.1"'
            )
            port = server.sockets[0].getsockname()[1]
            work = f"PoWQueueRate={chosen.rate} PoWQueueBurst={2 * chosen.rate}"
            bare = await publish(control, port)
            guarded = await publish(control, port, "PoWDefensesEnabled=1", work)
            print("| | flood, a second | came | failed | median | nine of ten | work |")
            print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
            plan = [("no flood", bare, 0, 15.0), ("flood", bare, chosen.flood, 60.0)]
            plan += [
                (f"flood, proof of work, minute {n}", guarded, chosen.flood, 60.0)
                for n in range(1, chosen.minutes + 1)
            ]
            for title, onion, many, seconds in plan:
                found = await phase(
                    title, network.socks, flood, onion, many=many, seconds=seconds
                )
                print(found.row(await read_effort(metrics, onion)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
