"""A room of a hundred with two devices each: what a message costs the server's people.

    python benchmarks/rooms_server.py [--members 100] [--prosody PROGRAM]...

The members are bare streams on a real Prosody (``LightMember``); what they send has
the form and size of OMEMO. Each message is sent with ``mod_omemo_slim`` and without.
Prints a table for docs/reference/performance.md.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask
from xmpp_onion.testing.light_member import LightMember

DEVICES = 2
MESSAGES = 10
_OLD = "eu.siacs.conversations.axolotl"
_NEW = "urn:xmpp:omemo:2"
# An element of one device, as a client of ours writes it.
_KEY_BYTES = {
    _OLD: {"first": 276, "later": 160},
    _NEW: {"first": 308, "later": 196},
}
_FLIGHT = 20  # logins at once
_PAYLOAD = "A" * 400


@dataclass(frozen=True, slots=True)
class Cost:
    """What one message cost."""

    stanza_bytes: int
    occupant_bytes: float
    egress_bytes: float
    cpu_seconds: float
    seconds: float

    def row(self, what: str) -> str:
        """Return a line of the table."""
        return (
            f"| {what} | {self.stanza_bytes / 1e3:.1f} kB "
            f"| {self.occupant_bytes / 1e3:.2f} kB | {self.egress_bytes / 1e6:.3f} MB "
            f"| {self.cpu_seconds * 1e3:.0f} ms | {self.seconds * 1e3:.0f} ms |"
        )


class Room:
    """A room full of members.

    Args:
        server: The server that it is on.
        members: Who is in it, the owner first.
    """

    def __init__(self, server: Prosody, members: Sequence[LightMember]) -> None:
        self._server = server
        self.members = members
        self.name = f"room@muc.{server.onion}"

    async def fill(self) -> None:
        """Let everybody publish devices and join."""
        owner, *others = self.members
        await owner.create(self.name, "member0")
        await owner.make_members(self.name, [str(one.jid) for one in others])
        for number, member in enumerate(self.members):
            devices = "".join(
                f"<device id='{device}'/>" for device in devices_of(number)
            )
            await member.publish(
                f"{_OLD}.devicelist", f"<list xmlns='{_OLD}'>{devices}</list>"
            )
        for number, member in enumerate(others, start=1):
            await member.join(self.name, f"member{number}")
        await self.settle()

    async def settle(self) -> None:
        """Return when everybody has read everything that was sent so far."""
        await self.each(lambda one: one.ask("<ping xmlns='urn:xmpp:ping'/>"))

    async def each(self, do: Callable[[LightMember], Awaitable[object]]) -> None:
        """Do something for everybody at once."""
        async with asyncio.TaskGroup() as group:
            for member in self.members:
                group.create_task(_run(do(member)))

    async def measure(self, content: str) -> Cost:
        """Send a content so often, and return what each took on average."""
        stanza = (
            f"<message type='groupchat' to='{self.name}' id='m'>{content}"
            "<store xmlns='urn:xmpp:hints'/></message>"
        )
        sender = self.members[0]
        before = sum(one.received_bytes for one in self.members)
        cpu, start = cpu_seconds(self._server.pid), time.perf_counter()
        for _ in range(MESSAGES):
            sender.send(stanza)
            await self.each(lambda one: one.next_message())
        seconds = (time.perf_counter() - start) / MESSAGES
        egress = sum(one.received_bytes for one in self.members) - before
        return Cost(
            stanza_bytes=len(stanza),
            occupant_bytes=egress / MESSAGES / len(self.members),
            egress_bytes=egress / MESSAGES,
            cpu_seconds=(cpu_seconds(self._server.pid) - cpu) / MESSAGES,
            seconds=seconds,
        )


async def _run(what: Awaitable[object]) -> None:
    await what


def devices_of(number: int) -> list[int]:
    """Return the device numbers of a member."""
    return [10**9 + number * DEVICES + device for device in range(DEVICES)]


def cpu_seconds(pid: int) -> float:
    """Return what a process has used so far.

    Source: proc(5), the fields 14 and 15 of ``stat``.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def old_content(members: Sequence[LightMember], kind: str) -> str:
    """Return what a message of the older version looks like."""
    keys = "".join(
        f"<key rid='{device}'{pre}>{'A' * (_KEY_BYTES[_OLD][kind] - 30)}</key>"
        for pre in ["" if kind == "later" else " prekey='true'"]
        for number in range(len(members))
        for device in devices_of(number)
    )
    header = f"<header sid='{devices_of(0)[0]}'>{keys}<iv>{'A' * 16}</iv></header>"
    return (
        f"<encrypted xmlns='{_OLD}'>{header}<payload>{_PAYLOAD}</payload></encrypted>"
    )


def new_content(members: Sequence[LightMember], kind: str) -> str:
    """Return what a message of the newer version looks like."""
    groups = "".join(
        f"<keys jid='{member.jid}'>"
        + "".join(
            f"<key rid='{device}'>{'A' * (_KEY_BYTES[_NEW][kind] - 30)}</key>"
            for device in devices_of(number)
        )
        + "</keys>"
        for number, member in enumerate(members)
    )
    header = f"<header sid='{devices_of(0)[0]}'>{groups}</header>"
    return (
        f"<encrypted xmlns='{_NEW}'>{header}<payload>{_PAYLOAD}</payload></encrypted>"
    )


async def switch(folder: Path, server: Prosody, *, on: bool) -> None:
    """Load ``mod_omemo_slim``, or unload it."""
    host = f"muc.{server.onion}"
    verb = "load" if on else "unload"
    await ask(
        folder / "prosody" / "data",
        'local fine, manager = pcall(require, "prosody.core.modulemanager");'
        'if not fine then manager = require "core.modulemanager"; end;'
        f'assert(manager.{verb}("{host}", "omemo_slim")); return "done"',
    )


async def measure(program: str, count: int) -> None:
    """Print the rows of one Prosody."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "server"
        server = await stack.enter_async_context(Prosody(folder, program=program))
        members = [
            LightMember(
                await server.add_account(f"member{number}", "pw"),
                "pw",
                server.c2s_port,
            )
            for number in range(count)
        ]
        for member in members:
            await stack.enter_async_context(member)
        room = Room(server, members)
        start = time.perf_counter()
        await room.fill()
        filled = time.perf_counter() - start
        print(f"Prosody {server.version}, {count} members: joined in {filled:.1f} s")
        for on in [True, False]:
            if not on:
                await switch(folder, server, on=False)
            for version, content in {"old": old_content, "new": new_content}.items():
                for kind in _KEY_BYTES[_NEW]:
                    cost = await room.measure(content(members, kind))
                    slim = "slim" if on else "whole"
                    print(cost.row(f"{version}, {kind}, {slim}"), flush=True)
            print(f"resident: {resident_bytes(server.pid) / 1e6:.0f} MB")


async def main(programs: Sequence[str], count: int) -> None:
    """Measure each Prosody in turn."""
    for program in programs:
        await measure(program, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--prosody", action="append", metavar="PROGRAM")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.prosody or ["prosody"], chosen.members))
