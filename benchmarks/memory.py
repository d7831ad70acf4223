"""Memory of accounts in one process: the first client, and each further one.

    python benchmarks/memory.py [--clients 100] [--prosody PROGRAM]

A process of its own logs in so many new accounts at a Prosody on loopback, behind a
proxy in place of Tor. Each publishes its keys and reads a message of one of the others;
Linux tells what is resident then. The first row is a process that has imported all
that a client needs. Prints a table for docs/reference/performance.md.
"""

import argparse
import asyncio
import gc
import json
import logging
import sys
import tempfile
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.transport import Tor

_PASSWORD = "pw"  # noqa: S105 - of accounts that live as long as the benchmark
_STEPS = (0, 1, 2, 10, 50, 100, 200)


def resident_bytes() -> int:
    """Return what this process has in memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def enter(
    stack: AsyncExitStack, place: dict[str, str], number: int, tor: Tor
) -> Client:
    """Log one account in."""
    account = Account(
        profile=f"bot{number}",
        folder=Path(place["folder"], f"bot{number}"),
        jid=JID(f"bot{number}@{place['onion']}"),
        password=_PASSWORD,
        trust=Trust.BTBV,
    )
    return await stack.enter_async_context(Client(account, tor=tor))


async def be(place: dict[str, str], count: int, trace: int) -> None:
    """Log in one after the other, and tell how much memory that takes."""
    logging.disable(logging.WARNING)
    async with AsyncExitStack() as stack:
        tor = await stack.enter_async_context(Tor.attach(place["socks"]))
        clients: list[Client] = []
        for step in (step for step in _STEPS if step <= count):
            if trace and step == trace:
                tracemalloc.start(12)
                before = tracemalloc.take_snapshot()
            while len(clients) < step:
                client = await enter(stack, place, len(clients), tor)
                if clients:
                    await clients[len(clients) // 2].send(client.jid, "hello")
                    assert (await anext(client.messages())).text == "hello"
                clients.append(client)
            gc.collect()
            told = {"clients": step, "bytes": resident_bytes()}
            print(json.dumps(told), flush=True)
        if trace:
            show(before, count - trace)


def show(before: tracemalloc.Snapshot, clients: int) -> None:
    """Print what a further client is made of, for whoever wants it smaller."""
    after = tracemalloc.take_snapshot()
    for kind in ("filename", "lineno"):
        for found in after.compare_to(before, kind)[:40]:
            print(found.size_diff / clients / 1024, found.traceback, file=sys.stderr)


async def measure(clients: int, program: str, trace: int) -> None:
    """Run the process, and print what it says as a table."""
    # Not for the process that is measured.
    from xmpp_onion.server import Prosody, initialise  # noqa: PLC0415
    from xmpp_onion.testing import ChaosProxy  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="xmpp-onion-bench-") as name:
        folder = Path(name)
        initialise(folder / "server")
        async with Prosody(folder / "server", program=program) as server:
            for number in range(clients):
                await server.add_account(f"bot{number}", _PASSWORD)
            for number in range(clients):
                (folder / f"bots/bot{number}").mkdir(mode=0o700, parents=True)
            routes = {str(server.onion): server.c2s_port}
            async with ChaosProxy(routes=routes) as proxy:
                place = {
                    "folder": str(folder / "bots"),
                    "onion": str(server.onion),
                    "socks": proxy.socks,
                }
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    __file__,
                    *("--place", json.dumps(place)),
                    *("--clients", str(clients), "--trace", str(trace)),
                    stdout=asyncio.subprocess.PIPE,
                )
                output, _ = await process.communicate()
    print_table([json.loads(line) for line in output.splitlines()])


def print_table(told: list[dict[str, int]]) -> None:
    """Print a row for each step."""
    print("| clients | resident | for each further one |\n| ---: | ---: | ---: |")
    for before, now in zip([told[0], *told], told, strict=False):
        more = now["clients"] - before["clients"]
        each = (now["bytes"] - before["bytes"]) / more / 2**20 if more else 0
        print(f"| {now['clients']} | {now['bytes'] / 2**20:.1f} MiB | {each:.2f} MiB |")


def main() -> None:
    """Measure, or be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    parser.add_argument("--trace", type=int, default=0, help="tracemalloc from so many")
    parser.add_argument("--place", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.place:
        asyncio.run(be(json.loads(chosen.place), chosen.clients, chosen.trace))
    else:
        asyncio.run(measure(chosen.clients, chosen.prosody, chosen.trace))


if __name__ == "__main__":
    main()
