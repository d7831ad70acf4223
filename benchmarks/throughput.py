"""Messages a second from one person to another: ours beside the bare libraries.

    python benchmarks/throughput.py [--rtt 0 0.5] [--messages 3000] [--only ours]
        [--prosody PROGRAM]...

One writes as fast as the server takes it, with 1,024 messages that wait for an ack at
most; the other decrypts, and it is compared that each came, ours in its order. Writer
and reader are processes of their own; the proxy that delays both ways of the writer
is a third. Then thirty are sent one by one. Nobody comes by a circuit, whose ceiling
at a server of ours is 200 stanzas a second. Prints a table for
docs/reference/performance.md.
"""

import argparse
import asyncio
import json
import logging
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from rooms_server import cpu_seconds
from worker import Worker, serve

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.bench.bare import BareClient
from xmpp_onion.bench.stage import quiet
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.store import ContactRow
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.transport import Tor

# Messages that wait at once. One of bare's returns before the server has it; two
# encryptions at once would use one key twice.
WINDOWS = {"bare": 1, "ours": 1024}
SINGLE = 30
_PASSWORD = "pw"  # noqa: S105 - of accounts that live as long as the benchmark


@dataclass(frozen=True, slots=True)
class Place:
    """Who one process is, and whom it talks to."""

    contestant: str
    jid: str
    other: str
    socks: str
    folder: str
    fingerprint: str
    certificate: str


# --- in a process of its own --------------------------------------------------------


class Voice(Protocol):
    """One side of the conversation, in either way."""

    window: int

    async def say(self, text: str) -> None:
        """Encrypt and send; ours returns with the ack of the server."""

    async def hear(self) -> str:
        """Return the next decrypted text."""
        ...


class _Bare:
    window = WINDOWS["bare"]

    def __init__(self, client: BareClient, other: str) -> None:
        self._client = client
        self._other = other

    async def say(self, text: str) -> None:
        await self._client.say(self._other, text)

    async def hear(self) -> str:
        return await self._client.hear()


class _Ours:
    window = WINDOWS["ours"]

    def __init__(self, client: Client, other: str) -> None:
        self._client = client
        self._other = other
        self._messages = client.messages()

    async def say(self, text: str) -> None:
        await self._client.send(self._other, text)

    async def hear(self) -> str:
        return (await anext(self._messages)).text


@asynccontextmanager
async def bare(place: Place) -> AsyncIterator[Voice]:
    """Be one of the two with the bare libraries."""
    async with Tor.attach(place.socks) as tor:
        client = BareClient(
            place.jid,
            _PASSWORD,
            tor=tor,
            certificate=Path(place.certificate),
            store=Path(place.folder, "omemo.json"),
        )
        try:
            await client.log_in()
            yield _Bare(client, place.other)
        finally:
            await client.leave()


@asynccontextmanager
async def ours(place: Place) -> AsyncIterator[Voice]:
    """Be one of the two with xmpp_onion."""
    account = Account(
        profile="benchmark",
        folder=Path(place.folder),
        jid=JID(place.jid),
        password=_PASSWORD,
        trust=Trust.BTBV,
        certificate=place.fingerprint,
    )
    async with Tor.attach(place.socks) as tor, Client(account, tor=tor) as client:
        async with client._database.transaction():  # noqa: SLF001 - a contact without the roster's way
            row = ContactRow(place.other, "both", ask=False)
            await client._contacts.table.put([row])  # noqa: SLF001 - as above
        yield _Ours(client, place.other)


CONTESTANTS = {"bare": bare, "ours": ours}


async def write(voice: Voice, prefix: str, count: int) -> dict[str, float]:
    """Say so much, as fast as it goes, in order."""
    room = asyncio.Semaphore(voice.window)

    async def one(number: int) -> None:
        try:
            await voice.say(f"{prefix} {number} {time.monotonic()}")
        finally:
            room.release()

    cpu, start = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            await room.acquire()
            tasks.create_task(one(number))
    return {"start": start, "cpu": time.process_time() - cpu}


async def write_singly(voice: Voice, prefix: str, count: int) -> dict[str, float]:
    """Say so much, each when all is quiet."""
    start, cpu = time.monotonic(), time.process_time()
    for number in range(count):
        await voice.say(f"{prefix} {number} {time.monotonic()}")
        await asyncio.sleep(0.3)
    return {"start": start, "cpu": time.process_time() - cpu}


async def read(voice: Voice, prefix: str, count: int) -> dict[str, float]:
    """Take so much, and see that it is what was said, in its order."""
    took, order, cpu = [], [], time.process_time()
    for _ in range(count):
        said, number, when = (await voice.hear()).split()
        assert said == prefix
        order.append(int(number))
        took.append(time.monotonic() - float(when))
    end, cpu = time.monotonic(), time.process_time() - cpu
    # The bare libraries decrypt several at once, and may hand out the later one first.
    assert (sorted(order) if voice.window == 1 else order) == list(range(count))
    return {"end": end, "cpu": cpu, "median": statistics.median(took)}


WORK: dict[str, Callable[[Voice, str, int], Awaitable[dict[str, float]]]] = {
    "write": write,
    "single": write_singly,
    "read": read,
}


async def be(place: Place) -> None:
    """Do what stdin says until it ends."""
    logging.disable(logging.WARNING)
    async with CONTESTANTS[place.contestant](place) as voice:
        await serve(lambda work, *words: WORK[work](voice, *words))


# --- the one that measures ------------------------------------------------------------


def other(place: Place, profile: str = "") -> Worker:
    """Return a process that is one of the two; ready when it is logged in."""
    watched = ["-m", "cProfile", "-o", profile] if profile else []
    return Worker(*watched, __file__, "--place", json.dumps(asdict(place)))


async def together(
    writer: Worker, reader: Worker, work: str, count: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Have one say something and the other read it."""
    prefix = secrets.token_hex(4)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(reader.ask("read", prefix, count))
        writing = tasks.create_task(writer.ask(work, prefix, count))
    return writing.result(), reading.result()


async def run(
    name: str, rtt: float, server: Prosody, *, folder: Path, chosen: argparse.Namespace
) -> str:
    """Measure one contestant at one round-trip time; return its row."""
    routes = {str(server.onion): server.c2s_port}
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(ChaosProxy(routes=routes))
        far = await stack.enter_async_context(ChaosProxy(routes=routes, rtt=rtt))
        places = await make_places(name, (near, far), server, folder)
        profiles = [f"{chosen.profile}.{name}.{who}" for who in ("reader", "writer")]
        reader, writer = [
            await stack.enter_async_context(
                other(place, profile if chosen.profile else "")
            )
            for place, profile in zip(places, profiles, strict=True)
        ]
        await together(writer, reader, "single", 1)
        await together(reader, writer, "single", 1)  # now the writer's session is old
        await quiet(far)
        up, prosody = far.bytes_up, cpu_seconds(server.pid)
        count = chosen.messages
        wrote, got = await together(writer, reader, "write", count)
        seconds = got["end"] - wrote["start"]
        up, prosody = far.bytes_up - up, cpu_seconds(server.pid) - prosody
        await quiet(far)
        _, single = await together(writer, reader, "single", SINGLE)
    return (
        f"| {server.version} | {name} | {rtt * 1000:.0f} | {count / seconds:.0f} "
        f"| {1e3 * wrote['cpu'] / count:.2f} | {1e3 * got['cpu'] / count:.2f} "
        f"| {1e3 * prosody / count:.2f} | {up / count:.0f} "
        f"| {single['median']:.3f} | {os.getloadavg()[0]:.1f} |"
    )


async def make_places(
    name: str, proxies: tuple[ChaosProxy, ChaosProxy], server: Prosody, folder: Path
) -> list[Place]:
    """Make the two accounts, the reader's first."""
    names = [f"{who}-{secrets.token_hex(4)}" for who in ("reader", "writer")]
    jids = [str(await server.add_account(each, _PASSWORD)) for each in names]
    certificate = next((folder / "server/prosody/certs").glob("*.crt"))
    for each in names:
        (folder / each).mkdir(mode=0o700)
    return [
        Place(
            contestant=name,
            jid=jid,
            other=other,
            socks=proxy.socks,
            folder=str(folder / each),
            fingerprint=server.certificate_fingerprint,
            certificate=str(certificate),
        )
        for jid, other, proxy, each in zip(
            jids, reversed(jids), proxies, names, strict=True
        )
    ]


async def measure(chosen: argparse.Namespace) -> None:
    """Measure everybody at every server, and print the table."""
    print(
        "| Prosody | | round trip, ms | messages a second | writer, ms of CPU "
        "| reader | Prosody | bytes up | one alone, s | load |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        flush=True,
    )
    for program in chosen.prosody or ["prosody"]:
        with tempfile.TemporaryDirectory(prefix="xmpp-onion-bench-") as name:
            folder = Path(name)
            initialise(folder / "server")
            async with Prosody(folder / "server", program=program) as server:
                for rtt in chosen.rtt:
                    for each in [chosen.only] if chosen.only else list(CONTESTANTS):
                        print(
                            await run(each, rtt, server, folder=folder, chosen=chosen),
                            flush=True,
                        )


def main() -> None:
    """Measure, or be a process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rtt", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--only", choices=CONTESTANTS)
    parser.add_argument("--prosody", action="append", metavar="PROGRAM")
    parser.add_argument("--profile", default="", metavar="FILE", help="of cProfile")
    parser.add_argument("--place", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.place:
        asyncio.run(be(Place(**json.loads(chosen.place))))
    else:
        asyncio.run(measure(chosen))


if __name__ == "__main__":
    main()
