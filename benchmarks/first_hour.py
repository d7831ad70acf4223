"""Seconds from an empty folder to the first encrypted message, command by command.

    python benchmarks/first_hour.py [--runs 3] [--json FILE]

Types what docs/tutorial/a-server-for-friends.md tells, as real processes on a private
Tor network; that network is there before the clock begins. Then the same for two people
with a server each, one of whom is introduced to the other. Prints a table for
docs/reference/performance.md, and writes all runs as JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from xmpp_onion.testing import TorNetwork, default_template

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 180.0  # seconds until something that does not come is an error
Line: TypeAlias = dict[str, object]
Steps: TypeAlias = dict[str, float]


class Day:
    """One beginner's day: commands, and how long each takes.

    Args:
        network: Where it happens.
        folder: Where everything is put; empty.
    """

    def __init__(self, network: TorNetwork, folder: Path) -> None:
        self._network, self._folder = network, folder
        self.steps: Steps = {}

    def host(self, name: str) -> dict[str, str]:
        """Return the environment of who keeps a server: the Tor that publishes it."""
        return {
            "XMPP_ONION_SOCKS": self._network.service_socks,
            "XMPP_ONION_CONTROL": self._network.service_control,
            "DIR": str(self._folder / name),
        }

    def guest(self, name: str) -> dict[str, str]:
        """Return the environment of somebody with a client."""
        return {
            "XMPP_ONION_SOCKS": self._network.socks,
            "XMPP_ONION_DATA_DIR": str(self._folder / f"of-{name}"),
        }

    async def start(
        self, who: Mapping[str, str], *words: str
    ) -> asyncio.subprocess.Process:
        """Start a command, with nothing of who runs the benchmark."""
        known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        place = {"HOME": str(self._folder), "LANG": "C.UTF-8"}
        words = tuple(who.get(word, word) for word in words)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "xmpp_onion", "--json", *words),
            env={**known, **place, **who},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )

    async def type_in(self, step: str, who: Mapping[str, str], *words: str) -> Line:
        """Run a command to its end; return its first line."""
        began = time.perf_counter()
        process = await self.start(who, *words)
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate()
        self._note(step, began)
        if process.returncode != 0:
            raise SystemExit(f"{step}: {out.decode()}")
        first: Line = json.loads(out.splitlines()[0]) if out else {}
        return first

    async def hear(
        self, step: str, process: asyncio.subprocess.Process, event: str, began: float
    ) -> Line:
        """Wait for a line of a command that goes on."""
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while line := await process.stdout.readline():
                found: Line = json.loads(line)
                if found["event"] == event:
                    self._note(step, began)
                    return found
        raise SystemExit(f"{step}: it ended")

    def _note(self, step: str, began: float) -> None:
        self.steps[step] = time.perf_counter() - began

    async def enrol(self, server: str, name: str) -> str:
        """Invite somebody, let them join, and return their address."""
        invite = await self.type_in(
            f"`server invite --username {name}`",
            *(self.host(server), "server", "invite", "DIR", "--username", name),
        )
        added = await self.type_in(
            f"`account add --invite`, {name}",
            *(self.guest(name), "account", "add", "--invite", str(invite["uri"])),
        )
        return str(added["jid"])


async def one_server(day: Day) -> None:
    """Two people on one server."""
    began = time.perf_counter()
    host = day.host("chat")
    await day.type_in("`server init`", host, "server", "init", "DIR")
    await day.type_in("`server up --detach`", host, "server", "up", "--detach", "DIR")
    try:
        await day.enrol("chat", "alice")
        bob = await day.enrol("chat", "bob")
        await first_word(day, bob, began)
    finally:
        await day.type_in("`server down`", host, "server", "down", "DIR")


async def two_servers(day: Day) -> None:
    """Two people with a server each; bob introduces himself."""
    began = time.perf_counter()
    hosts = [day.host(name) for name in ("alices", "bobs")]
    jids = []
    try:
        for host, name in zip(hosts, ("alice", "bob"), strict=True):
            of = f", {name}'s"
            await day.type_in(f"`server init`{of}", host, "server", "init", "DIR")
            up = f"`server up --detach`{of}"
            await day.type_in(up, host, "server", "up", "--detach", "DIR")
            jids.append(await day.enrol(f"{name}s", name))
        contact = await day.type_in(
            "`server invite --contact bob`",
            *(hosts[1], "server", "invite", "DIR", "--contact", "bob"),
        )
        uri = str(contact["uri"])
        await day.type_in(
            "`contact add`, alice", day.guest("alice"), "contact", "add", uri
        )
        await first_word(day, jids[1], began)
    finally:
        for host, name in zip(hosts, ("alice", "bob"), strict=True):
            down = f"`server down`, {name}'s"
            await day.type_in(down, host, "server", "down", "DIR")


async def first_word(day: Day, to: str, began: float) -> None:
    """Let bob listen and alice write; and once more, when all is warm."""
    start = time.perf_counter()
    listening = await day.start(day.guest("bob"), "listen")
    try:
        await day.hear("`listen`, bob: ready", listening, "ready", start)
        for step, text in (("first", "hello"), ("second", "again")):
            start = time.perf_counter()
            await day.type_in(
                f"`send`, alice, {step}", day.guest("alice"), "send", to, "-m", text
            )
            heard = await day.hear(
                f"the {step} message is on bob's screen, since `send` began",
                *(listening, "message", start),
            )
            assert (heard["body"], heard["encrypted"]) == (text, True)
            if step == "first":
                day.steps["**empty folder to first message**"] = (
                    time.perf_counter() - began
                )
    finally:
        if listening.returncode is None:
            listening.terminate()
        await listening.wait()


def table(runs: list[Steps]) -> str:
    """Return medians and extremes in markdown."""
    lines = ["| step | seconds |", "| --- | ---: |"]
    for step in runs[0]:
        values = [run[step] for run in runs]
        spread = f" ({min(values):.1f} to {max(values):.1f})" if len(runs) > 1 else ""
        lines.append(f"| {step} | {statistics.median(values):.1f}{spread} |")
    return "\n".join(lines)


async def main() -> None:
    """Begin from nothing, as often as asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="a file for all runs")
    chosen = parser.parse_args()
    found: dict[str, list[Steps]] = {}
    async with TorNetwork(relays=8, template=default_template()) as network:
        for kind in (one_server, two_servers):
            runs = found[kind.__name__] = []
            for _ in range(chosen.runs):
                with tempfile.TemporaryDirectory() as folder:
                    day = Day(network, Path(folder))
                    await kind(day)
                runs.append(day.steps)
            print(f"\n{(kind.__doc__ or '').splitlines()[0]}\n\n{table(runs)}")
    if chosen.json:
        chosen.json.write_text(f"{json.dumps(found, indent=1)}\n")


if __name__ == "__main__":
    asyncio.run(main())
