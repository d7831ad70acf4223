"""How soon the first byte of an onion service comes, through a real Tor network.

Who speaks with the dial (``dial(first=…)``) does not wait for Tor to say that it is
connected, which is a whole round trip.
"""

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from xmpp_onion.address import OnionAddress
from xmpp_onion.bench.figures import Figure
from xmpp_onion.testing import TorNetwork
from xmpp_onion.testing.echo import EchoService
from xmpp_onion.transport import Isolation, Purpose, Tor

__all__ = ["FEWEST_LINKS", "HOP_DELAY", "FirstBytes", "Sample", "measure", "network"]

HOP_DELAY = 0.02
"""Seconds, one way, of each link: about 0.3 s for a round trip, as in the open."""

FEWEST_LINKS = 6
"""Links between client and service at least: three relays each, one in common; a
service behind vanguards has one more."""

_PORT = 7
_ASKED = b"?"
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds from the dial to the first byte.

    Attributes:
        waiting: Who asks when the dial has said that it is connected.
        at_once: Who asks with the dial.
    """

    waiting: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)

    @property
    def medians(self) -> tuple[float, float]:
        """Return that of who waits, and that of who does not."""
        return statistics.median(self.waiting), statistics.median(self.at_once)


@dataclass(frozen=True, slots=True)
class FirstBytes:
    """What was measured.

    Attributes:
        warm: On a circuit that is there.
        new: On a circuit that has to be built, to a service whose descriptor is known.
        round_trip: Seconds from a question to its answer on an open connection.
    """

    warm: Sample
    new: Sample
    round_trip: float

    def figures(self) -> list[Figure]:
        """Return the medians."""
        return [
            Figure(subject, contestant, self.round_trip, seconds)
            for subject, sample in (
                ("warm-circuit", self.warm),
                ("new-circuit", self.new),
            )
            for contestant, seconds in zip(
                ("asked when connected", "asked with the dial"),
                sample.medians,
                strict=True,
            )
        ]


@asynccontextmanager
async def network(hop_delay: float = HOP_DELAY) -> AsyncIterator[TorNetwork]:
    """Run a Tor network with distance; eight relays, for runs of minutes."""
    async with TorNetwork(hop_delay, relays=8) as made:
        yield made


async def measure(tor_network: TorNetwork, rounds: int) -> FirstBytes:
    """Ask an onion service again and again, in turn in both ways.

    Args:
        tor_network: Where.
        rounds: How often in each way, on each kind of circuit.
    """
    async with EchoService() as service, Tor.attach(tor_network.socks) as tor:
        onion = await tor_network.add_onion({_PORT: service.port})
        asker = _Asker(tor, onion)
        await asker.ask("warm", at_once=False)  # fetches the descriptor, once
        warm, new = Sample(), Sample()
        for number in range(rounds):
            for sample, whose in ((warm, "warm"), (new, f"new {number}")):
                sample.waiting.append(await asker.ask(whose, at_once=False))
                other = whose if sample is warm else f"{whose}, at once"
                sample.at_once.append(await asker.ask(other, at_once=True))
        return FirstBytes(warm, new, await asker.round_trip("warm", rounds))


class _Asker:
    """Asks the service, and takes the time."""

    def __init__(self, tor: Tor, onion: OnionAddress) -> None:
        self._tor = tor
        self._onion = onion
        self._run = secrets.token_hex(8)

    async def ask(self, whose: str, *, at_once: bool) -> float:
        """Return the seconds from the dial to the first byte."""
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        with await self._tor.dial(
            self._onion,
            _PORT,
            isolation=self._isolation(whose),
            first=_ASKED if at_once else b"",
        ) as sock:
            async with asyncio.timeout(_PATIENCE):
                if not at_once:
                    await loop.sock_sendall(sock, _ASKED)
                await loop.sock_recv(sock, 1)
            return time.perf_counter() - began

    async def round_trip(self, whose: str, rounds: int) -> float:
        """Return the median of a question and its answer on one connection."""
        loop, took = asyncio.get_running_loop(), []
        with await self._tor.dial(
            self._onion, _PORT, isolation=self._isolation(whose)
        ) as sock:
            for _ in range(rounds):
                began = time.perf_counter()
                async with asyncio.timeout(_PATIENCE):
                    await loop.sock_sendall(sock, _ASKED)
                    await loop.sock_recv(sock, 1)
                took.append(time.perf_counter() - began)
        return statistics.median(took)

    def _isolation(self, whose: str) -> Isolation:
        return Isolation(f"{whose} of {self._run}", Purpose.CHECK)
