"""A private Tor network on loopback: one authority, some relays, client, service.

It is the real tor program in its testing mode. There are no exits: nothing that
a test does can reach the open network, not even by mistake.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    BootstrapError,
    OnionServiceError,
    TorError,
    TorNotRunningError,
)
from xmpp_onion.testing.ports import are_free
from xmpp_onion.testing.tordirectory import valid_after
from xmpp_onion.testing.torfleet import CLIENT, SERVICE, Progress, TorFleet
from xmpp_onion.testing.tornode import require_programs
from xmpp_onion.testing.torrc import LOOPBACK, Role, join_lines
from xmpp_onion.testing.tortemplate import TemplateSlot

__all__ = ["TorNetwork"]

log = logging.getLogger(__name__)

# Seconds. A first start takes about 12 on two idle cores, one from a template 3. Three
# first starts at once take 30: the rest is for machines that are slower still.
_START_LIMIT = 90.0
_WARM_LIMIT = 20.0
_PUBLISH_LIMIT = 30.0
# With fewer there is never a path to an onion service.
_FEWEST_RELAYS = 3
# How tor's log and the operating system call it.
_PORT_TAKEN = "ddress already in use"


class TorNetwork:
    """Start a Tor network on this machine; leave none of it behind.

    Args:
        hop_delay: One-way delay of every link into a relay, in seconds, added
            in the event loop that enters the network: do not block it. 0.25 is
            about the most that starts within the limits.
        relays: Besides the authority, which relays too. Four let a test kill
            one; take eight for runs of several minutes.
        template: A folder that keeps the network between runs: the first start
            takes about 12 seconds, later ones 4. Processes may share it.
            `default_template` is one for all of a user's projects.
        on_progress: Called with a short phrase and a fraction from 0 to 1.

    Raises:
        TorNotFoundError: On entering. Install what it names.
        TorNotRunningError: On entering: a node ended; its log is in the error.
        BootstrapError: On entering: not ready in 90 seconds; the logs are in it.
    """

    def __init__(
        self,
        hop_delay: float = 0.0,
        *,
        relays: int = 4,
        template: Path | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        if relays < _FEWEST_RELAYS:
            raise ValueError(f"a Tor network needs at least {_FEWEST_RELAYS} relays")
        self._relays = relays
        self._template = template
        self._on_progress = on_progress
        self._fleet = TorFleet(relays, hop_delay=hop_delay, progress=self._report)
        self._slot: TemplateSlot | None = None
        self._onions: dict[OnionAddress, tuple[str, Mapping[int, int]]] = {}

    # --- where it listens -------------------------------------------------------

    @property
    def socks(self) -> str:
        """The client's SOCKS port, as ``127.0.0.1:PORT``."""
        return f"{LOOPBACK}:{self._fleet[CLIENT].plan.socks_port}"

    @property
    def control(self) -> str:
        """The client's control port; it tells where its cookie lies."""
        return f"{LOOPBACK}:{self._fleet[CLIENT].plan.control_port}"

    @property
    def service_socks(self) -> str:
        """The SOCKS port of the tor that publishes the services."""
        return f"{LOOPBACK}:{self._fleet[SERVICE].plan.socks_port}"

    @property
    def service_control(self) -> str:
        """The control port of the tor that publishes the services."""
        return f"{LOOPBACK}:{self._fleet[SERVICE].plan.control_port}"

    @property
    def torrc_lines(self) -> tuple[str, ...]:
        """The torrc lines that let another tor join as a client; see `seed`."""
        return join_lines(self._fleet.authority_line)

    async def seed(self, data_dir: Path) -> None:
        """Spare a tor that is about to join the download of the directory.

        Without it, the download's back-off may cost up to ten seconds.

        Args:
            data_dir: Its data directory, before it starts; made if missing.
        """
        directory = await self._fleet.directory()
        directory.write(data_dir, now=datetime.now(UTC))

    # --- onion services -----------------------------------------------------------

    async def add_onion(self, ports: Mapping[int, int]) -> OnionAddress:
        """Publish an onion service and wait until it can be found.

        Args:
            ports: Virtual port to port on loopback.

        Raises:
            OnionServiceError: Not published in 30 seconds.
        """
        return await self._publish("NEW:ED25519-V3", ports)

    async def remove_onion(self, address: OnionAddress) -> None:
        """Take down a service of `add_onion`; clients may still know of it."""
        del self._onions[address]
        async with await self._fleet[SERVICE].control() as control:
            await control.ask(f"DEL_ONION {address.removesuffix('.onion')}")

    async def _publish(self, key: str, ports: Mapping[int, int]) -> OnionAddress:
        service = self._fleet[SERVICE]
        targets = "".join(f" Port={v},{LOOPBACK}:{p}" for v, p in ports.items())
        try:
            async with (
                asyncio.timeout(_PUBLISH_LIMIT),
                await service.control() as control,
            ):
                await control.ask("SETEVENTS HS_DESC")
                lines = await control.ask(f"ADD_ONION {key} Flags=Detach{targets}")
                answer = dict(line.partition("=")[::2] for line in lines)
                await until_uploaded(control.event, answer["ServiceID"])
        except TimeoutError as error:
            raise OnionServiceError(
                "the onion service was not published",
                why=f"no upload in {_PUBLISH_LIMIT:.0f} seconds\n{service.log_tail()}",
            ) from error
        address = OnionAddress(f"{answer['ServiceID']}.onion")
        self._onions[address] = (answer.get("PrivateKey", key), ports)
        return address

    # --- nodes ----------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names that `kill` and `restart` take."""
        return tuple(self._fleet.nodes)

    def pid(self, node: str) -> int | None:
        """Return the process id of a node, or None if it is dead."""
        return self._fleet[node].pid

    def collect_logs(self) -> dict[str, str]:
        """Return what each node has logged so far, by name."""
        return {name: node.log() for name, node in self._fleet.nodes.items()}

    async def newnym(self) -> None:
        """Let the client forget descriptors and take new circuits from now on.

        Open streams stay. Tor delays the second of two within ten seconds.
        """
        async with await self._fleet[CLIENT].control() as control:
            await control.ask("SIGNAL NEWNYM")

    async def kill(self, node: str) -> None:
        """Kill a node without a warning (SIGKILL)."""
        self._fleet[node].kill()
        await self._fleet[node].gone()

    async def restart(self, node: str) -> None:
        """Start a node again, on the same ports and with the same keys.

        A client or service is back in the network when this returns, and what
        `add_onion` published is published again.

        Raises:
            TorNotRunningError: It does not start.
            BootstrapError: It is not back in 90 seconds.
        """
        await self.kill(node)
        tor = self._fleet[node]
        async with self._limit(_START_LIMIT):
            await self._fleet.start([tor])
            if tor.plan.role is Role.CLIENT:
                await self._fleet.bootstrap(tor, since=0.0)
        if node == SERVICE:
            for key, ports in list(self._onions.values()):
                await self._publish(key, ports)

    # --- start and end ----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        require_programs()
        try:
            await self._start()
        except BaseException:  # cancellation and Ctrl-C too: leave nothing behind
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._onions.clear()
        try:
            await self._fleet.clear()
        finally:
            if self._slot is not None:
                self._slot.release()
                self._slot = None

    async def _start(self) -> None:
        if self._template is not None:
            self._slot = _claim(self._template, self._relays)
        if self._slot is not None and await self._start_from(self._slot):
            return
        try:
            await self._start_cold()
        except TorNotRunningError as error:
            if _PORT_TAKEN not in error.why:
                raise
            log.info("somebody took a port between our choice and its use; once more")
            await self._fleet.clear()
            await self._start_cold()

    async def _start_from(self, slot: TemplateSlot) -> bool:
        """Start what the slot holds; False if it is of no use any more."""
        layout = slot.layout()
        if layout is None or not are_free(*layout.all_ports()):
            return False
        try:
            async with self._limit(_WARM_LIMIT):
                slot.restore(self._fleet.lay_out(layout))
                await self._fleet.prepare()
                await self._fleet.start(self._fleet.nodes.values())
                self._report("relays started", 0.3)
                await self._enter_network(since=0.3)
        except (TorError, OSError) as error:
            log.info("the template does not start, building afresh: %s", error)
            slot.discard()
            await self._fleet.clear()
            return False
        return True

    async def _start_cold(self) -> None:
        fleet = self._fleet
        async with self._limit(_START_LIMIT):
            folder = fleet.lay_out()
            self._report("making keys", 0.0)
            await fleet.prepare()
            await fleet.start(fleet.relays())
            self._report("relays started", 0.15)
            await fleet.vote()
            self._report("voting", 0.3)
            directory = await fleet.directory()
            self._report("consensus voted", 0.7)
            for client in fleet.clients():
                directory.write(client.plan.folder, now=datetime.now(UTC))
            await fleet.start(fleet.clients())
            await self._enter_network(since=0.7)
        if self._slot is not None:
            layout = fleet.layout(valid_after(directory.consensus))
            try:
                self._slot.save(folder, layout, directory)
            except OSError as error:
                log.warning("the next start will be slow again: %s", error)

    async def _enter_network(self, *, since: float) -> None:
        await self._fleet.bootstrap(self._fleet[CLIENT], since=since)
        await self._fleet.bootstrap(self._fleet[SERVICE], since=1.0)
        self._report("Tor network ready", 1.0)

    @asynccontextmanager
    async def _limit(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise BootstrapError(
                f"the private Tor network was not ready in {seconds:.0f} seconds",
                percent=self._fleet.percent,
                why=f"the logs end with\n{self._fleet.log_tails()}\n",
                fix="Is the machine very busy? Else the logs say more",
            ) from error

    def _report(self, phrase: str, fraction: float) -> None:
        log.debug("%s (%.0f%%)", phrase, 100 * fraction)
        if self._on_progress is not None:
            self._on_progress(phrase, fraction)


def _claim(template: Path, relays: int) -> TemplateSlot | None:
    try:
        return TemplateSlot.claim(template, relays)
    except OSError as error:  # no place to write to is no reason not to run
        log.warning("every start will be slow: %s", error)
        return None


async def until_uploaded(event: Callable[[], Awaitable[str]], service: str) -> None:
    """Read ``HS_DESC`` events until every upload that was begun has ended well.

    The first upload is one of several; a client that asks another directory
    would be told that there is no such service.
    """
    uploading: Counter[str] = Counter()
    uploaded = False
    while uploading.total() or not uploaded:
        _, action, address, _, directory, *_ = [*(await event()).split(), *[""] * 5]
        if address != service:
            continue
        if action == "UPLOAD":
            uploading[directory] += 1
        elif action in {"UPLOADED", "FAILED"}:
            uploading[directory] -= 1
            uploaded = uploaded or action == "UPLOADED"
