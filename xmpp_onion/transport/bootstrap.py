"""How far a Tor has come on its way into its network."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Self

from xmpp_onion.errors import BootstrapError, TorNotRunningError
from xmpp_onion.transport.daemon import Daemon
from xmpp_onion.transport.dial import probe

__all__ = ["PATIENCE", "Bootstrap"]

log = logging.getLogger(__name__)

# Seconds between two looks at the bootstrap phase, and how long one may last.
_PAUSE: Final = 0.2
PATIENCE: Final = 120.0


class Bootstrap:
    """The way of a daemon into its network: watched, and waited for.

    Args:
        daemon: Whose.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Return when the daemon has its network; many may wait at once.

        Raises:
            BootstrapError: As `steps`.
            TorNotRunningError: As `steps`.
        """
        async with self._turn:
            if not self._daemon.is_ready:
                async for percent, summary in self.steps(PATIENCE):
                    log.info("tor: %d %% %s", percent, summary)

    async def steps(self, patience: float) -> AsyncIterator[tuple[int, str]]:
        """Yield how far it has come, as percent and words, until it is at 100.

        Percents only grow. A daemon without control port is taken as ready when its
        SOCKS port answers.

        Args:
            patience: Seconds without any progress until this gives up.

        Raises:
            BootstrapError: It is stuck, or it ended on the way.
            TorNotRunningError: It is not there any more.
        """
        if self._daemon.link.control is None:
            await probe(self._daemon.link.socks)
            yield 100, "attached"
            return
        loop = asyncio.get_running_loop()
        phase = _Phase(-1, "not started")
        deadline = loop.time() + patience
        while phase.percent < 100:
            latest = await self._look(phase)
            if latest.percent > phase.percent:
                deadline = loop.time() + patience
                yield latest.percent, latest.summary
            elif loop.time() > deadline:
                raise latest.stuck(patience)
            phase = max(phase, latest, key=lambda seen: seen.percent)
            if phase.percent < 100:
                await asyncio.sleep(_PAUSE)
        self._daemon.is_ready = True

    async def _look(self, before: "_Phase") -> "_Phase":
        try:
            control = await self._daemon.control()
            return _Phase.parse(await control.get_info("status/bootstrap-phase"))
        except TorNotRunningError as error:
            if self._daemon.is_ready or before.percent < 0:
                raise
            raise BootstrapError(
                "Tor ended while it was starting",
                percent=before.percent,
                why=self._daemon.link.last_words() or error.why,
                fix="Start it again; its log says why it ended.",
            ) from error


class _Phase(NamedTuple):
    """One look at ``status/bootstrap-phase`` (control-spec, STATUS_CLIENT)."""

    percent: int
    summary: str
    warning: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        percent = re.search(r"PROGRESS=(\d+)", text)
        fields = dict(re.findall(r'([A-Z]+)="((?:[^"\\]|\\.)*)"', text))
        return cls(
            int(percent[1]) if percent else 0,
            fields.get("SUMMARY", ""),
            fields.get("WARNING", ""),
        )

    def stuck(self, patience: float) -> BootstrapError:
        words = ", ".join(filter(None, (self.summary, self.warning)))
        return BootstrapError(
            "Tor does not get into its network",
            percent=max(self.percent, 0),
            why=f"stuck at {self.percent} % for {patience:.0f} s ({words})",
            fix="Check this machine's connection and clock. Where Tor is blocked, "
            "set up a bridge in the torrc: https://bridges.torproject.org",
        )
