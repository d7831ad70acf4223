"""The processes of one private Tor network, and the steps that make them one."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

from xmpp_onion.errors import TorNotRunningError
from xmpp_onion.testing.delay import DelayedPort
from xmpp_onion.testing.ports import free_ports
from xmpp_onion.testing.scratch import ScratchFolder
from xmpp_onion.testing.tordirectory import (
    Directory,
    count_relays,
    fetch,
    fetch_directory,
)
from xmpp_onion.testing.tornode import POLL, TorNode
from xmpp_onion.testing.torrc import NodePlan, Role, parked_offset, voting_offset
from xmpp_onion.testing.tortemplate import Layout

__all__ = ["AUTHORITY", "CLIENT", "SERVICE", "Progress", "TorFleet"]

log = logging.getLogger(__name__)

AUTHORITY, CLIENT, SERVICE = "auth0", "client", "service"

Progress = Callable[[str, float], None]
"""Gets a few words, and how far it is, 0 to 1."""


class TorFleet:
    """All nodes in one folder: planned by `lay_out`, started in steps, cleared.

    Args:
        relays: Besides the authority.
        hop_delay: One way, in seconds, of every link into a relay.
        progress: Called with a phrase and a fraction from 0 to 1.
    """

    def __init__(self, relays: int, *, hop_delay: float, progress: Progress) -> None:
        self._relays = relays
        self._hop_delay = hop_delay
        self._progress = progress
        self._delays = AsyncExitStack()
        self._scratch: ScratchFolder | None = None
        self.nodes: dict[str, TorNode] = {}
        self.authority_line = ""
        self.percent = 0  # how far the last client to start has come

    def __getitem__(self, name: str) -> TorNode:
        try:
            return self.nodes[name]
        except KeyError:
            known = ", ".join(self.nodes) or "none until the network is entered"
            raise ValueError(f"no node {name!r}; there are: {known}") from None

    def relays(self) -> list[TorNode]:
        """Return the authority and the relays."""
        return [n for n in self.nodes.values() if n.plan.role is not Role.CLIENT]

    def clients(self) -> list[TorNode]:
        """Return client and service."""
        return [n for n in self.nodes.values() if n.plan.role is Role.CLIENT]

    # --- from nothing to nodes --------------------------------------------------

    def lay_out(self, layout: Layout | None = None) -> Path:
        """Choose folder and ports; nothing runs yet.

        Args:
            layout: The ports that a template has pinned.

        Returns:
            The folder, in which each node has one of its own.
        """
        self._scratch = ScratchFolder.make("xmpp-onion-tornet-")
        folder = self._scratch.path
        roles = {AUTHORITY: Role.AUTHORITY}
        roles |= {f"relay{number}": Role.RELAY for number in range(self._relays)}
        roles |= {CLIENT: Role.CLIENT, SERVICE: Role.CLIENT}
        ports = iter(free_ports(4 * len(roles)))
        for name, role in roles.items():
            fresh = (next(ports), next(ports), next(ports), next(ports))
            pinned = layout.ports.get(name) if layout else None
            plan = self._plan(folder / name, role, fresh, pinned)
            self.nodes[name] = TorNode(plan)
        return folder

    def _plan(
        self,
        folder: Path,
        role: Role,
        fresh: tuple[int, int, int, int],
        pinned: tuple[int, int] | None,
    ) -> NodePlan:
        control_port, spare_port, *own = fresh
        if role is Role.CLIENT:
            return NodePlan(
                folder.name, role, folder, control_port, socks_port=spare_port
            )
        or_port, dir_port = pinned or own
        return NodePlan(
            folder.name,
            role,
            folder,
            control_port,
            or_port=or_port,
            listen_port=spare_port if self._hop_delay else or_port,
            dir_port=dir_port if role is Role.AUTHORITY else 0,
        )

    def layout(self, valid_after: datetime) -> Layout:
        """Return what a template has to pin."""
        plans = [node.plan for node in self.relays()]
        return Layout({p.name: (p.or_port, p.dir_port) for p in plans}, valid_after)

    async def prepare(self) -> None:
        """Make the authority's keys, and the delays in front of the relays."""
        self.authority_line = await self[AUTHORITY].make_authority_keys()
        if not self._hop_delay:
            return
        for node in self.relays():
            port, target = node.plan.or_port, node.plan.listen_port
            delay = DelayedPort(port, target, delay=self._hop_delay)
            try:
                await self._delays.enter_async_context(delay)
            except OSError as error:
                raise TorNotRunningError(
                    f"the delay in front of {node.plan.name} does not start",
                    why=str(error),
                ) from error

    async def start(self, nodes: Iterable[TorNode]) -> None:
        """Start nodes and wait until each listens and is bound to our life."""
        offset = parked_offset(time.time())
        nodes = list(nodes)
        for node in nodes:
            await node.start(self.authority_line, offset=offset)
        for node in nodes:
            await node.own()

    # --- from nodes to a network --------------------------------------------------

    async def vote(self) -> None:
        """Hold the first vote as soon as the authority knows every relay."""
        authority, known = self[AUTHORITY], 0
        while known <= self._relays:
            self._check_alive()
            await asyncio.sleep(POLL)
            descriptors = await fetch(authority.plan.dir_port, "/tor/server/all")
            known = count_relays(descriptors or b"")
        async with await authority.control() as control:
            offset = voting_offset(time.time())
            await control.ask(f"SETCONF TestingV3AuthVotingStartOffset={offset}")

    async def directory(self) -> Directory:
        """Wait for the consensus and return all that a client needs."""
        port = self[AUTHORITY].plan.dir_port
        while (directory := await fetch_directory(port)) is None:
            self._check_alive()
            await asyncio.sleep(POLL)
        return directory

    async def bootstrap(self, node: TorNode, *, since: float) -> None:
        """Wait until a client is in the network, telling progress from ``since``."""
        last = -1
        while last < 100:
            self.percent = percent = await node.bootstrap_percent()
            if percent == last:
                await asyncio.sleep(POLL)
                continue
            fraction = since + (1 - since) * percent / 100
            self._progress(f"{node.plan.name} bootstrapped {percent}%", fraction)
            last = percent

    def _check_alive(self) -> None:
        for node in self.nodes.values():
            if node.was_started:
                node.check_alive()

    # --- and back to nothing --------------------------------------------------------

    def log_tails(self) -> str:
        """Return the last log lines of every node, for an error."""
        tails = (f"[{name}]\n{n.log_tail()}" for name, n in self.nodes.items())
        return "\n".join(tails)

    async def clear(self) -> None:
        """End all processes and remove all files."""
        for node in self.nodes.values():
            node.kill()  # all before the first await, which may be interrupted
        try:
            await self._delays.aclose()
            for node in self.nodes.values():
                await node.gone()
        finally:
            self.nodes = {}
            if self._scratch is not None:
                self._scratch.remove()
                self._scratch = None
