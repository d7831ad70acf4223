"""Two people on an onion-only Prosody, a Tor network between, and the same judge."""

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import checker
from arena import Arena
from peer import Plan

from xmpp_onion.server import Server
from xmpp_onion.testing import ChaosProxy, TorNetwork
from xmpp_onion.transport import Tor

ALICE, BOB = "alice", "bob"
_LOOK = 0.1  # seconds between two looks at a history


class TorArena(Arena):
    """The arena with a real way; a context manager.

    Bob goes through the network's client tor. Alice does so too, or through the
    wire that can be made bad, or through a tor child of her own.

    Args:
        folder: For all of it.
        network: Is left as it was found.
        alice: ``tor``, ``wire`` or ``child``: her way.
        haste: How many times less than usual a silent server is waited for.
        patience: Seconds without any progress after which a message counts as stuck.
    """

    def __init__(
        self,
        folder: Path,
        network: TorNetwork,
        *,
        alice: str = "tor",
        haste: float = 1.0,
        patience: float = 90.0,
    ) -> None:
        super().__init__(folder, patience=patience)
        self.network = network
        self.site = AsyncExitStack()
        self._alice = alice
        self.haste = haste
        self._is_near = True
        self._read: dict[str, tuple[int, list[checker.Entry]]] = {}

    async def __aenter__(self) -> Self:
        network = self.network
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leave_site)
            await self.open_site(
                self.folder / "server",
                Tor.attach(network.service_socks, network.service_control),
            )
            routes = {str(self.prosody.onion): self.prosody.c2s_port}
            self._near = await stack.enter_async_context(ChaosProxy(routes=routes))
            self.wire = await stack.enter_async_context(ChaosProxy(network.socks))
            self._context.set_forkserver_preload(["xmpp_onion.bot"])
            stack.push_async_callback(self.end_all)
            self._stack = stack.pop_all()
        return self

    async def _leave_site(self) -> None:
        await self.site.aclose()

    async def open_site(self, folder: Path, tor: Tor) -> None:
        """Run the server in ``folder``, and publish it through ``tor``."""
        publisher = await self.site.enter_async_context(tor)
        server = Server(folder, tor=publisher)
        self.prosody: Any = await self.site.enter_async_context(server)

    def plan(self, profile: str, **more: Any) -> Plan:
        """Return a plan for a process of ``profile``, on its way to the server."""
        plan = replace(super().plan(profile, **more), haste=self.haste)
        if self._is_near:
            return replace(plan, socks=self._near.socks)
        if profile == ALICE and self._alice == "wire":
            return plan
        if profile == ALICE and self._alice == "child":
            return replace(plan, torrc=self.network.torrc_lines)
        return replace(plan, socks=self.network.socks, control=self.network.control)

    async def talk(self, pause: float = 0.5) -> None:
        """Let both publish their keys on a short way, and talk on the long one."""
        for name in (ALICE, BOB):
            await self.enrol(name)
            self.start(self.plan(name))
        for name in (ALICE, BOB):
            await self.reach(name, "ready", 1)
            await self.stop(name)
        self._is_near = False
        await self.network.seed(self.folder / "data" / ALICE / "tor")
        for name, other in ((ALICE, BOB), (BOB, ALICE)):
            self.start(self.plan(name, to=other, until=10**6, pause=pause))
        await self.flow(ALICE, BOB)

    # --- what the histories say ---------------------------------------------------

    def entries(self, profile: str) -> list[checker.Entry]:
        """Return what a profile has written down so far; reads what is new."""
        path = self.history(profile)
        offset, entries = self._read.get(profile, (0, []))
        if path.exists():
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
            *lines, rest = data.split(b"\n")
            entries = [*entries, *map(json.loads, lines)]
            self._read[profile] = (offset + len(data) - len(rest), entries)
        return entries

    async def leave_online(self, profile: str, since: float, limit: float) -> float:
        """Return how long after ``since`` a connection was given up."""
        while True:
            for entry in self.entries(profile):
                is_left = entry["what"] == "state" and entry["state"] != "ONLINE"
                if is_left and float(entry["at"]) > since:
                    return float(entry["at"]) - since
            if time.time() > since + limit:
                return float("inf")
            await asyncio.sleep(_LOOK)

    def attempts(self, profile: str, since: float) -> int:
        """Return how often a profile has dialed since then."""
        return sum(
            entry["what"] == "state"
            and entry["state"] == "DIALING"
            and float(entry["at"]) > since
            for entry in self.entries(profile)
        )

    def delays(self, sender: str, receiver: str, since: float) -> list[float]:
        """Return how long each text begun since then was on its way, in seconds."""
        begun = {
            entry["number"]: float(entry["at"])
            for entry in self.entries(sender)
            if entry["what"] == "intent" and float(entry["at"]) > since
        }
        return [
            float(entry["at"]) - begun[entry["number"]]
            for entry in self.entries(receiver)
            if entry["what"] == "handled" and entry["number"] in begun
        ]

    # --- processes ----------------------------------------------------------------

    def child_tor(self, profile: str) -> int | None:
        """Return the process id of the tor that a profile has launched."""
        pid = self.running[profile].pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "tor":
                return int(child)
        return None

    def cpu(self, profile: str) -> float:
        """Return the seconds of CPU that a process has used."""
        pid = self.running[profile].pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def end_talk(self) -> dict[str, object]:
        """Let nobody say anything more, everything arrive, and the judge speak."""
        for name in (ALICE, BOB):
            await self.stop(name)
        self.wire.rtt = 0.0
        for name in (ALICE, BOB):
            self.start(self.plan(name))
        await self.settle([ALICE, BOB])
        for name in (ALICE, BOB):
            await self.stop(name)
        return await self.judge([ALICE, BOB])
