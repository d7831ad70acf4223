"""How long a private Tor network takes to start: cold, and from a template.

    python benchmarks/tornet.py [STARTS] [RELAYS]

Each start counts only when a client has reached an onion service in it. Prints
minimum, median and maximum of the seconds since nothing ran.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.testing import TorNetwork

GREETING = b"reached\n"


async def reach(socks: str, onion: OnionAddress) -> bytes:
    """Connect through Tor (SOCKS5, RFC 1928) and return what the service says."""
    host, _, port = socks.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))  # noqa: TID251 - to our own SOCKS port
    try:
        name = onion.encode()
        writer.write(b"\5\1\0" + b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\7")
        await reader.readexactly(2)
        reply = await reader.readexactly(10)
        return await reader.readline() if reply[1] == 0 else reply[1:2]
    finally:
        writer.close()


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be the service."""
    writer.write(GREETING)
    await writer.drain()
    writer.close()


async def start_once(relays: int, template: Path | None) -> dict[str, float]:
    """Return the seconds until each phase of one start was over."""
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    begin, seconds = time.perf_counter(), {}
    async with server, TorNetwork(relays=relays, template=template) as network:
        seconds["ready"] = time.perf_counter() - begin
        onion = await network.add_onion({7: port})
        seconds["published"] = time.perf_counter() - begin
        answer = await reach(network.socks, onion)
        seconds["reached"] = time.perf_counter() - begin
        assert answer == GREETING, f"SOCKS reply {answer!r}"
    seconds["gone"] = time.perf_counter() - begin
    return seconds


def measure(title: str, starts: int, relays: int, template: Path | None) -> int:
    """Start a network again and again; print a table; return the failures."""
    runs: list[dict[str, float]] = []
    failures = 0
    for number in range(starts):
        try:
            runs.append(asyncio.run(start_once(relays, template)))
        except (XmppOnionError, AssertionError, OSError) as error:
            failures += 1
            print(f"start {number}: {error}", file=sys.stderr)
    print(f"{title}, 1 + {relays} relays: {len(runs)} of {starts} starts")
    for phase in runs[0] if runs else ():
        times = [run[phase] for run in runs]
        low, middle, high = min(times), statistics.median(times), max(times)
        print(f"  {phase:<10}{low:6.2f} {middle:6.2f} {high:6.2f} s")
    return failures


def main() -> int:
    """Measure both kinds of start."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    relays = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    failures = measure("cold", starts, relays, None)
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder)
        asyncio.run(start_once(relays, template))
        failures += measure("from a template", starts, relays, template)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
