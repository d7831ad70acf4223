"""A room of a hundred with two devices each: ours beside the bare libraries.

    python benchmarks/rooms.py [--members 100] [--rtt 0.5] [--rate 10] [--seconds 60]

One person writes, with ``xmpp_onion.Client`` or with the bare libraries, in a process
of its own (rooms_writer.py), and reaches the server through a proxy that delays and
counts. The others are bare streams (``LightMember``) whose devices are python-omemo's
own, and they decrypt everything (rooms_readers.py).
All of it shares one machine with one Prosody. What the same costs the server is
measured by rooms_server.py.
Prints a table for docs/reference/performance.md.
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
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rooms_readers import DEVICES, PASSWORD, Occupant, fill
from rooms_server import cpu_seconds
from rooms_writer import CONTESTANTS, Place, Writer, text

from xmpp_onion.address import JID
from xmpp_onion.bench.figures import Figure
from xmpp_onion.bench.stage import quiet
from xmpp_onion.server import Prosody
from xmpp_onion.testing import ChaosProxy

_PAUSE = 0.3  # seconds between two that are measured one by one


@dataclass(frozen=True, slots=True)
class Hall:
    """Where it happens.

    Attributes:
        server: Of the room, and of everybody.
        proxy: Between the server and who writes.
        occupants: Who reads.
        folder: For what contestants keep.
    """

    server: Prosody
    proxy: ChaosProxy
    occupants: Sequence[Occupant]
    folder: Path

    @property
    def room(self) -> str:
        """Its address."""
        return f"room@muc.{self.server.onion}"

    async def place_for(self, name: str) -> Place:
        """Make an account for a contestant, and let it in."""
        jid = await self.server.add_account(name, PASSWORD)
        await self.occupants[0].member.make_members(self.room, [str(jid)])
        home = self.folder / name
        home.mkdir(mode=0o700)
        return Place(
            contestant=name,
            jid=str(jid),
            password=PASSWORD,
            socks=self.proxy.socks,
            folder=str(home),
            fingerprint=self.server.certificate_fingerprint,
            certificate=str(next((self.folder / "server/prosody/certs").glob("*.crt"))),
            room=self.room,
            members=[str(one.member.jid) for one in self.occupants],
        )

    async def tell(self, writer: Writer, sender: JID) -> float:
        """Say something, and return the seconds until the last has decrypted it."""
        prefix = secrets.token_hex(8)
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            reading = [
                group.create_task(one.read(sender, text(prefix, 0)))
                for one in self.occupants
            ]
            group.create_task(writer.say(prefix))
        return max(task.result() for task in reading) - start


async def run(name: str, hall: Hall, chosen: argparse.Namespace) -> None:
    """Measure one contestant and print its rows."""
    proxy = hall.proxy
    place = await hall.place_for(name)
    proxy.rtt = chosen.rtt
    before, start = proxy.round_trips, time.perf_counter()
    async with Writer(place) as writer:
        took, trips = time.perf_counter() - start, proxy.round_trips - before
        print(f"| {name} | log in | {took:.1f} s | {trips} |", flush=True)
        await quiet(proxy)
        await hall.occupants[0].learn(JID(place.jid))
        await first(name, hall, writer, JID(place.jid), chosen=chosen)
        await later(name, hall, writer, JID(place.jid), chosen=chosen)
        if chosen.seconds and name == "ours":
            await stream(hall, writer, JID(place.jid), chosen)


async def first(
    name: str, hall: Hall, writer: Writer, jid: JID, *, chosen: argparse.Namespace
) -> None:
    """Measure entering and at once a first message, for which every session is new."""
    proxy, start = hall.proxy, time.perf_counter()
    before, up, down = proxy.round_trips, proxy.bytes_up, proxy.bytes_down
    await writer.join()
    joined, trips = time.perf_counter() - start, proxy.round_trips - before
    print(f"| {name} | enter the room | {joined:.1f} s | {trips} |", flush=True)
    took = joined + await hall.tell(writer, jid)
    figure = Figure(
        "room",
        name,
        chosen.rtt,
        took,
        proxy.flights - before,
        chosen.members,
        proxy.bytes_up - up,
        proxy.bytes_down - down,
    )
    tell(figure, chosen)
    await quiet(proxy)


async def later(
    name: str, hall: Hall, writer: Writer, jid: JID, *, chosen: argparse.Namespace
) -> None:
    """Measure later ones, one after the other."""
    proxy, times = hall.proxy, []
    before, up, down = proxy.round_trips, proxy.bytes_up, proxy.bytes_down
    for _ in range(chosen.warm):
        times.append(await hall.tell(writer, jid))
        await asyncio.sleep(_PAUSE + chosen.rtt)  # so that none waits for another's ack
    middle, high = statistics.median(times), sorted(times)[len(times) * 95 // 100]
    figure = Figure(
        "room-later",
        name,
        chosen.rtt,
        middle,
        round((proxy.flights - before) / chosen.warm),
        chosen.members,
        (proxy.bytes_up - up) // chosen.warm,
        (proxy.bytes_down - down) // chosen.warm,
    )
    tell(figure, chosen, f"; p95 {high:.2f} s")
    await quiet(proxy)


def tell(figure: Figure, chosen: argparse.Namespace, more: str = "") -> None:
    """Print a row, and keep the figure."""
    print(
        f"| {figure.contestant} | {figure.title} | {figure.seconds:.2f} s{more}, "
        f"{figure.bytes_up / 1e3:.0f} kB up, {figure.bytes_down / 1e3:.0f} kB down "
        f"| {figure.round_trips} |",
        flush=True,
    )
    if chosen.figures is not None:
        with chosen.figures.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figure.as_line()) + "\n")


async def stream(
    hall: Hall, writer: Writer, jid: JID, chosen: argparse.Namespace
) -> None:
    """Say many a second; three members decrypt, the others take it."""
    count = int(chosen.seconds * chosen.rate)
    prefix = secrets.token_hex(8)
    everybody = hall.occupants
    readers = [everybody[index] for index in (0, len(everybody) // 2, -1)]

    async def read(occupant: Occupant) -> list[float]:
        return [
            await occupant.read(jid, text(prefix, number), all_devices=False)
            for number in range(count)
        ]

    async def drop(occupant: Occupant) -> None:
        for _ in range(count):
            await occupant.drop()

    server, here = cpu_seconds(hall.server.pid), time.process_time()
    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(read(one)) for one in readers]
        for one in everybody:
            if one not in readers:
                group.create_task(drop(one))
        start = time.perf_counter()
        sending = group.create_task(writer.say(prefix, count, chosen.rate))
    took = time.perf_counter() - start
    late = [
        max(arrivals) - start - number / chosen.rate
        for number, arrivals in enumerate(
            zip(*(task.result() for task in reading), strict=True)
        )
    ]
    costs = [
        sending.result().cpu_seconds,
        (cpu_seconds(hall.server.pid) - server) / count,
        (time.process_time() - here) / count,
    ]
    print_stream(chosen, late, took, costs)


def print_stream(
    chosen: argparse.Namespace,
    late: Sequence[float],
    took: float,
    costs: Sequence[float],
) -> None:
    """Print how late each quarter came, and what a message cost whom."""
    quarter = len(late) // 4
    parts = [late[begin : begin + quarter] for begin in range(0, 4 * quarter, quarter)]
    medians = ", ".join(f"{statistics.median(part):.2f}" for part in parts)
    print(
        f"| ours | {chosen.rate:g} a second for {chosen.seconds:g} s: median of each "
        f"quarter; p95 | {medians}; {statistics.quantiles(late, n=20)[-1]:.2f} s | |"
    )
    writer, server, readers = (1e3 * seconds for seconds in costs)
    print(
        f"| ours | all had the last one after | {took:.1f} s | |\n"
        f"| ours | CPU a message: writer, Prosody, readers | {writer:.1f}, "
        f"{server:.1f}, {readers:.1f} ms, at load {os.getloadavg()[0]:.1f} | |",
        flush=True,
    )


async def main(chosen: argparse.Namespace) -> None:
    """Measure the chosen contestants in one room."""
    logging.disable(logging.WARNING)  # what each of 200 devices says as it begins
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(
            Prosody(folder / "server", program=chosen.prosody)
        )
        routes = {str(server.onion): server.c2s_port}
        proxy = await stack.enter_async_context(ChaosProxy(routes=routes))
        start = time.perf_counter()
        occupants = await fill(server, stack, chosen.members)
        print(
            f"Prosody {server.version}, {chosen.members} members, {DEVICES} devices, "
            f"RTT {chosen.rtt} s; filled in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        hall = Hall(server, proxy, occupants, folder)
        for name in [chosen.only] if chosen.only else list(CONTESTANTS):
            await run(name, hall, chosen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--rtt", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--warm", type=int, default=30, help="later messages")
    parser.add_argument("--rate", type=float, default=10, help="messages a second")
    parser.add_argument("--seconds", type=float, default=60, help="of that rate")
    parser.add_argument("--only", choices=CONTESTANTS)
    parser.add_argument("--figures", type=Path, metavar="FILE", help="add them here")
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    asyncio.run(main(parser.parse_args()))
