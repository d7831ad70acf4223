"""All that is measured, in its order."""

import os
import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from xmpp_onion.bench import first_byte
from xmpp_onion.bench.course import Course
from xmpp_onion.bench.figures import Figure
from xmpp_onion.bench.peers import Enter
from xmpp_onion.bench.stage import Stage
from xmpp_onion.version import __version__

__all__ = [
    "DEFAULT_RTTS",
    "QUICK",
    "QUICK_RTTS",
    "Job",
    "Machine",
    "plan",
    "plan_first_byte",
]

DEFAULT_RTTS: Final = (0.0, 0.1, 0.5, 1.0)
"""Seconds. Over Tor a round trip to an onion takes 0.5 to 1."""

QUICK_RTTS: Final = (0.2,)
"""Well above what a program thinks between two of them, so that the count is exact."""

_ROUNDS: Final = 11  # of which the median is taken

QUICK: Final = Course(strangers=5, backlog=50)
"""What is done in less than a minute by each."""


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to measure.

    Attributes:
        title: What a person is told meanwhile.
        run: Begins it.
    """

    title: str
    run: Callable[[Stage], AsyncIterator[Figure]]


def plan(
    contestants: Mapping[str, Enter], rtts: Sequence[float], course: Course
) -> list[Job]:
    """Return what has to be done.

    Args:
        contestants: Who is measured.
        rtts: Seconds that are added to each round trip, one after the other.
        course: What each of them does.
    """
    return [
        Job(
            f"{name}, {rtt * 1000:.0f} ms a round trip",
            partial(course.run, name, enter, rtt),
        )
        for rtt in rtts
        for name, enter in contestants.items()
    ]


def plan_first_byte() -> Job:
    """Return the job that starts a private Tor network, with distance."""
    return Job("first byte through a private Tor network", _measure_first_byte)


async def _measure_first_byte(_stage: Stage) -> AsyncIterator[Figure]:
    async with first_byte.network() as network:
        found = await first_byte.measure(network, _ROUNDS)
    for figure in found.figures():
        yield figure


@dataclass(frozen=True, slots=True)
class Machine:
    """Where figures are from; without it they say little.

    Attributes:
        version: Of this library.
        python: Its version.
        system: The operating system, and the processor's kind.
        cores: How many.
        load: How many programs wanted to run, in the last minute.
        prosody: The server's version.
        at: When.
        rate: Bytes a second that a connection took; 0 if as many as came.
        loss: The part of packets that came later, because they got lost.
    """

    version: str
    python: str
    system: str
    cores: int
    load: float
    prosody: str
    at: datetime
    rate: int = 0
    loss: float = 0.0

    @classmethod
    def look(cls, stage: Stage) -> "Machine":
        """Return what this machine is now."""
        return cls(
            version=__version__,
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
            cores=os.cpu_count() or 1,
            load=round(os.getloadavg()[0], 1),
            prosody=stage.server.version,
            at=datetime.now(UTC),
            rate=round(stage.rate),
            loss=stage.loss,
        )

    def as_line(self) -> dict[str, object]:
        """Return the line that tells about it in ``--json``."""
        return {
            "v": 1,
            "event": "machine",
            "version": self.version,
            "python": self.python,
            "system": self.system,
            "cores": self.cores,
            "load": self.load,
            "prosody": self.prosody,
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "rate": self.rate,
            "loss": self.loss,
        }

    def __str__(self) -> str:
        return (
            f"xmpp-onion {self.version}, Python {self.python}, Prosody {self.prosody}, "
            f"{self.system}, {self.cores} cores at load {self.load}, "
            + (f"{self.rate / 1000:g} kB/s a connection, " if self.rate else "")
            + (f"{self.loss * 100:g} % of packets lost, " if self.loss else "")
            + f"{self.at:%Y-%m-%d %H:%M} UTC"
        )
