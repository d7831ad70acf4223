"""What guests who never log in cost a server, and how long somebody's log-in takes.

    python benchmarks/guests.py [--prosody PROGRAM]...

On loopback, with the circuits as Tor names them, eight guests by each: 2,000 who open a
stream and are silent, and 200 who do not finish its header. Then 1,000 that say nearly
all that a guest may, without an end. Prints a table for docs/reference/performance.md.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.testing.circuit import Caller, announcement, call
from xmpp_onion.testing.light_member import LightMember

IDLE, SLOW, LOUD = 2000, 200, 1000
OF_A_CIRCUIT = 8
LOUD_BYTES = 60_000
SETTLED = 2.0  # seconds until all has been read


def resident(pid: int) -> float:
    """Return what a process holds in memory, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(each for each in status if each.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


async def come(
    stack: AsyncExitStack, server: Prosody, count: int, first: int
) -> list[Caller]:
    """Connect so many guests, by circuits that nobody else has."""
    port = server.circuit_port.port
    return [
        await stack.enter_async_context(
            call(port, announcement(first + place // OF_A_CIRCUIT))
        )
        for place in range(count)
    ]


async def log_in(server: Prosody, jid: JID, circuit: int) -> float:
    """Log in by a circuit of one's own, and return the seconds that it took."""
    port, began = server.circuit_port.port, time.monotonic()
    async with LightMember(jid, "pw", port, first=announcement(circuit)):
        return time.monotonic() - began


async def measure(program: str) -> None:
    """Print the row of one Prosody."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            server = Prosody(Path(folder) / "server", program=program)
            await stack.enter_async_context(server)
            jid = await server.add_account("alice", "pw")
            empty = resident(server.pid)
            for place, guest in enumerate(await come(stack, server, IDLE + SLOW, 1000)):
                if place < IDLE:
                    guest.open(server.onion)
                else:
                    guest.say("<?xml version='1.0'?><stream:stream")
            await asyncio.sleep(SETTLED)
            silent, quick = resident(server.pid), await log_in(server, jid, 1)
            for guest in await come(stack, server, LOUD, 5000):
                guest.open(server.onion)
                guest.say(f"<message><body>{'x' * LOUD_BYTES}")
            await asyncio.sleep(SETTLED)
            loud, slow = resident(server.pid), await log_in(server, jid, 2)
            print(
                f"| {server.version} | {empty:.0f} MB | {silent:.0f} MB "
                f"| {quick:.2f} s | {loud:.0f} MB | {slow:.2f} s |",
                flush=True,
            )


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prosody", action="append", default=[])
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    print("| Prosody | empty | 2,200 silent | a log-in | 1,000 loud | a log-in |")
    print("|---|---:|---:|---:|---:|---:|")
    for program in options.prosody or ["prosody"]:
        asyncio.run(measure(program))


if __name__ == "__main__":
    main()
