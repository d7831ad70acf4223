"""How far one server goes: idle sessions, and messages a second, with its limits on.

    python benchmarks/server.py [--sessions 2000] [--prosody PROGRAM]...

The sessions are bare streams (``LightMember``) on a real Prosody, each through a
circuit of its own as Tor names it, so all ceilings of prosody-config hold. No TLS and
no Tor: what is measured is Prosody. Prints tables for docs/reference/performance.md.
"""

import argparse
import asyncio
import itertools
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rooms_server import Room, cpu_seconds, old_content, resident_bytes

from xmpp_onion.server import Prosody
from xmpp_onion.testing.circuit import announcement
from xmpp_onion.testing.light_member import LightMember

_FLIGHT = 20  # log-ins at once
_PAIRS = 20
_MESSAGES = 60  # of each sender: fewer than its account may send at once
_ROOM_MESSAGES = 20
_BODY = "a" * 1000
_CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"


@dataclass(slots=True)
class Spent:
    """What something cost: seconds on the clock, and of Prosody's CPU."""

    seconds: float = 0.0
    cpu: float = 0.0

    def rate(self, count: int) -> str:
        """Return how many there were in a second."""
        return f"{count / self.seconds:,.0f}"

    def share(self) -> str:
        """Return what part of a core it took."""
        return f"{100 * self.cpu / self.seconds:.0f} %"


class Crowd:
    """People of one server, each behind a circuit of his own.

    Args:
        server: Their server.
        stack: Where their sessions end.
    """

    def __init__(self, server: Prosody, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack
        self._numbers = itertools.count()
        self.members: list[LightMember] = []

    async def grow(self, count: int) -> Spent:
        """Let people log in until there are so many; their accounts are new."""
        fresh = [await self._prepare() for _ in range(count - len(self.members))]
        with self.spending() as spent:
            for start in range(0, len(fresh), _FLIGHT):
                async with asyncio.TaskGroup() as tasks:
                    for member in fresh[start : start + _FLIGHT]:
                        tasks.create_task(self._log_in(member))
        self.members += fresh
        return spent

    @contextmanager
    def spending(self) -> Iterator[Spent]:
        """Measure what happens meanwhile."""
        spent = Spent()
        cpu, start = cpu_seconds(self._server.pid), time.perf_counter()
        yield spent
        spent.seconds = time.perf_counter() - start
        spent.cpu = cpu_seconds(self._server.pid) - cpu

    async def _prepare(self) -> LightMember:
        number = next(self._numbers)
        jid = await self._server.add_account(f"member{number}", "pw")
        first = announcement(number + 1)
        return LightMember(jid, "pw", self._server.circuit_port.port, first=first)

    async def _log_in(self, member: LightMember) -> None:
        await self._stack.enter_async_context(member)
        await member.ask(_CARBONS, kind="set")
        member.send("<presence/>")


async def measure_idle(
    crowd: Crowd, server: Prosody, counts: Sequence[int], seconds: float
) -> None:
    """Print what sessions cost that say nothing."""
    empty = resident_bytes(server.pid)
    print("| sessions | log-ins a second | memory | of it for each | idle CPU |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for count in counts:
        before = len(crowd.members)
        logins = await crowd.grow(count)
        with crowd.spending() as idle:
            await asyncio.sleep(seconds)
        used = resident_bytes(server.pid)
        print(
            f"| {count:,} | {logins.rate(count - before)} | {used / 1e6:.0f} MB "
            f"| {(used - empty) / count / 1e3:.0f} kB | {idle.share()} |",
            flush=True,
        )


async def measure_talk(crowd: Crowd, hint: str) -> str:
    """Let pairs talk, and return the row of it."""
    count = min(_PAIRS, len(crowd.members) // 2)
    writers, readers = crowd.members[:count], crowd.members[count : 2 * count]

    async def read(reader: LightMember) -> None:
        for _ in range(_MESSAGES):
            await reader.next(lambda stanza: stanza.get("type") == "chat")

    with crowd.spending() as spent:
        async with asyncio.TaskGroup() as tasks:
            for writer, reader in zip(writers, readers, strict=True):
                tasks.create_task(read(reader))
                text = f"<body>{_BODY}</body>{hint}</message>"
                for _ in range(_MESSAGES):
                    writer.send(f"<message type='chat' to='{reader.jid}'>{text}")
    total = count * _MESSAGES
    return f"{spent.rate(total)} | {spent.share()} | {1e3 * spent.cpu / total:.1f} ms"


async def measure_room(crowd: Crowd, server: Prosody, size: int, *, keys: bool) -> str:
    """Let somebody write to a room of so many, and return the row of it."""
    room = Room(server, crowd.members[:size])
    room.name = f"room{size}{'keys' if keys else ''}@muc.{server.onion}"
    await room.fill()
    content = f"<body>{_BODY}</body>"
    if keys:
        content = old_content(room.members, "later")
    stanza = (
        f"<message type='groupchat' to='{room.name}'>{content}"
        "<store xmlns='urn:xmpp:hints'/></message>"
    )

    async def read(member: LightMember) -> None:
        for _ in range(_ROOM_MESSAGES):
            await member.next_message()

    with crowd.spending() as spent:
        async with asyncio.TaskGroup() as tasks:
            for member in room.members:
                tasks.create_task(read(member))
            for _ in range(_ROOM_MESSAGES):
                room.members[0].send(stanza)
    cost = f"{1e3 * spent.cpu / _ROOM_MESSAGES:.1f} ms"
    return f"{spent.rate(_ROOM_MESSAGES)} | {spent.share()} | {cost}"


async def measure(program: str, sessions: int, idle: float) -> None:
    """Print the tables of one Prosody."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "server"
        server = await stack.enter_async_context(Prosody(folder, program=program))
        print(f"\nProsody {server.version}, load {os.getloadavg()[0]:.0f}\n")
        crowd = Crowd(server, await stack.enter_async_context(AsyncExitStack()))
        steps = sorted({max(2, sessions // 8), max(2, sessions // 2), sessions})
        await measure_idle(crowd, server, steps, idle)
        print("\n| what | messages a second | of a core | CPU for each |")
        print("| --- | ---: | ---: | ---: |")
        for what, hint in {
            "to one, 1 kB, archived for both": "",
            "the same, not archived": "<no-store xmlns='urn:xmpp:hints'/>",
        }.items():
            print(f"| {what} | {await measure_talk(crowd, hint)} |", flush=True)
        for size, keys in [(20, False), (100, False), (30, True), (100, True)]:
            if size <= sessions:
                what = "OMEMO for two devices each" if keys else "1 kB"
                row = await measure_room(crowd, server, size, keys=keys)
                print(f"| room of {size}, {what} | {row} |", flush=True)


async def main(programs: Sequence[str], sessions: int, idle: float) -> None:
    """Measure each Prosody in turn."""
    for program in programs:
        await measure(program, sessions, idle)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--idle-seconds", type=float, default=10)
    parser.add_argument("--prosody", action="append", metavar="PROGRAM")
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    programs = chosen.prosody or ["prosody"]
    asyncio.run(main(programs, chosen.sessions, chosen.idle_seconds))
