"""Round trips, seconds and memory of taking in what came while an account was away.

    python benchmarks/catch_up.py [--messages 1000] [--senders 5] [--known]
        [--rtt 0] [--prosody PROGRAM]

The senders write on loopback to a real Prosody. Then a process of its own logs in as
the recipient, by a proxy that delays and counts; its time runs from the login to ready,
which means caught up, and its memory is the most that was resident. With ``--known``
sender and recipient have talked before, so that no message begins a session. An
archive of our server holds 10,000 messages, so no more than that are of use. Prints
rows for docs/reference/performance.md.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ParamSpec, TypeVar

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.bench.stage import Stage
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.server import Prosody
from xmpp_onion.session import register
from xmpp_onion.session.archive import Archive
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.transport import Tor

P = ParamSpec("P")
Answer = TypeVar("Answer")


async def enrol(
    server: Prosody, wire: LoopbackDialer, folder: Path, name: str
) -> Account:
    """Make an account."""
    password = f"secret of {name}"
    certificate = await register(await server.invite(name), name, password, tor=wire)
    account = Account(
        profile=name,
        folder=folder / name,
        jid=JID(f"{name}@{server.onion}"),
        password=password,
        trust=Trust.BTBV,
        certificate=certificate,
    )
    account.save()
    return account


async def send(account: Account, wire: LoopbackDialer, to: JID, count: int) -> None:
    """Send ``count`` messages and see that the server has them."""
    async with Client(account, tor=wire) as client:
        for number in range(count - 1):
            await client.queue(to, f"message {number}")
        await client.send(to, "the last message")


async def read(folder: Path, socks: str) -> None:
    """Log in as the recipient, and print what it took."""
    account = Account.load("reader", folder)
    before, questions = peak_bytes(), count_questions()
    start, cpu = time.perf_counter(), time.process_time()
    async with Tor.attach(socks) as tor, Client(account, tor=tor) as client:
        took = {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "memory": peak_bytes() - before,
            "questions": len(questions),
            # What is on the disk when it is ready.
            "got": len(await client._inbox.pending()),  # noqa: SLF001 - nothing public counts it
        }
        print(json.dumps(took), flush=True)
        sys.stdin.readline()  # until the proxy was read


def count_questions() -> list[None]:
    """Return a list that grows by one with each question to an archive."""
    asked: list[None] = []
    Archive.ask = counted(Archive.ask, asked)  # type: ignore[method-assign] # in this process alone
    return asked


def counted(call: Callable[P, Answer], into: list[None]) -> Callable[P, Answer]:
    """Return the same, which says when it is called."""

    def note(*args: P.args, **keywords: P.kwargs) -> Answer:
        into.append(None)
        return call(*args, **keywords)

    return note


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    # Not getrusage: its figure begins with that of the process that started us.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def talk(reader: Client, writer: Account, wire: LoopbackDialer) -> None:
    """Say one thing each way: then both have a session that stands."""
    async with Client(writer, tor=wire) as client:
        await client.send(reader.jid, "hello")
        await anext(reader.messages())
        await reader.send(client.jid, "hello")
        await anext(client.messages())


async def measure(chosen: argparse.Namespace) -> None:
    """Fill an archive and have it read."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = await stack.enter_async_context(
            Stage.build(folder, program=chosen.prosody)
        )
        server = stage.server
        print(f"Prosody {server.version}, {chosen}", flush=True)
        wire = LoopbackDialer(server.c2s_port)
        reader = await enrol(server, wire, folder, "reader")
        numbers = range(chosen.senders)
        writers = [await enrol(server, wire, folder, f"w{n}") for n in numbers]
        async with Client(reader, tor=wire) as client:  # publishes its keys
            for writer in writers if chosen.known else ():
                await talk(client, writer, wire)
        for count in (0, chosen.messages // chosen.senders):
            if count:
                await asyncio.gather(
                    *(send(w, wire, reader.jid, count) for w in writers)
                )
            async with stage.way(chosen.rtt) as proxy:
                print(await row(folder, proxy, chosen.senders), flush=True)


async def row(folder: Path, proxy: ChaosProxy, senders: int) -> str:
    """Have the archive read by a process of its own, and return what it took."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--read",
        str(folder),
        proxy.socks,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    took = json.loads(await process.stdout.readline())
    counts = f"{took['questions']} | {proxy.round_trips}"
    up = f"{proxy.bytes_up / 1e3:.1f} kB"
    await process.communicate(b"\n")
    return (
        f"| {took['got']} messages of {senders} senders | {counts} "
        f"| {took['seconds']:.1f} s | {took['cpu']:.1f} s | {up} "
        f"| {took['memory'] / 1e6:.0f} MB |"
    )


def main() -> None:
    """Measure, or be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--senders", type=int, default=5)
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--rtt", type=float, default=0.0)
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        asyncio.run(read(Path(options.read[0]), options.read[1]))
    else:
        asyncio.run(measure(options))


if __name__ == "__main__":
    main()
