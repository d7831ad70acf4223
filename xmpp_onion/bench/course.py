"""What each contestant does, one after the other, while it is counted and timed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace

from xmpp_onion.bench.figures import Figure
from xmpp_onion.bench.peers import Enter, Login, Peer
from xmpp_onion.bench.stage import Stage, quiet
from xmpp_onion.errors import BenchmarkError
from xmpp_onion.testing import ChaosProxy

__all__ = ["Course"]

_LIMIT_SECONDS = 900.0
_TEXT = "hello"

# Who asks about one stranger after the other: the count of a chain so long does not
# repeat (Profanity, ten of them: 21, 21, 22).
_ONE_BY_ONE = frozenset({"profanity"})


@dataclass(frozen=True, slots=True)
class Course:
    """What has to be done.

    Attributes:
        strangers: To how many people a first message goes at once.
        backlog: How many messages wait for somebody who logs in.
    """

    strangers: int = 10
    backlog: int = 1000

    async def run(
        self, contestant: str, enter: Enter, rtt: float, stage: Stage
    ) -> AsyncIterator[Figure]:
        """Measure one contestant, with new accounts, and yield each figure as it is.

        Args:
            contestant: What it is called.
            enter: How it logs in.
            rtt: Seconds of a round trip of who is measured; the others have no delay.
            stage: Where.

        Raises:
            BenchmarkError: It is not done within a quarter of an hour, or something
                else was read than was said.
        """
        async with stage.way() as near, stage.way(rtt) as far:
            mine = replace(self, strangers=0) if contestant in _ONE_BY_ONE else self
            run = _Run(mine, _Meter(contestant, rtt, far), enter, stage, near, far)
            for step in (run.log_in, run.talk, run.catch_up):
                try:
                    async with asyncio.timeout(_LIMIT_SECONDS):
                        await step()
                except TimeoutError as error:
                    raise BenchmarkError(
                        f"{contestant} is not done at a round trip of {rtt} s",
                        why=f"{_LIMIT_SECONDS:.0f} seconds are over",
                        fix="Try a shorter one: --rtt 0.2.",
                    ) from error
                for figure in run.meter.take():
                    yield figure


@dataclass(slots=True)
class _Meter:
    """Counts and takes the time on the way of who is measured."""

    contestant: str
    rtt: float
    way: ChaosProxy
    figures: list[Figure] = field(default_factory=list)

    @contextmanager
    def measures(
        self, subject: str, *, size: int = 1, is_on_its_way: bool = False
    ) -> Iterator[None]:
        """Measure what the block does.

        Args:
            subject: What it is.
            size: For how many.
            is_on_its_way: It ends when something reached the server: the leg that
                carries it counts as a whole round trip.
        """
        way, began = self.way, time.perf_counter()
        before = way.round_trips
        up, down = way.bytes_up, way.bytes_down
        yield
        after = way.flights if is_on_its_way else way.round_trips
        self.figures.append(
            Figure(
                subject,
                self.contestant,
                self.rtt,
                time.perf_counter() - began,
                after - before,
                size,
                way.bytes_up - up,
                way.bytes_down - down,
            )
        )

    def take(self) -> list[Figure]:
        """Return what was measured since the last time."""
        taken, self.figures = self.figures, []
        return taken


@dataclass(slots=True)
class _Run:
    """One contestant on its course."""

    course: Course
    meter: _Meter
    enter: Enter
    stage: Stage
    near: ChaosProxy
    far: ChaosProxy
    _alice: Login | None = None
    _bob: Login | None = None

    async def log_in(self) -> None:
        """Alice logs in for the first time; Bob has an account, too."""
        self._bob = await self.stage.enrol("bob", self.near)
        alice = await self.stage.enrol("alice", self.far)
        self._alice = alice._replace(is_measured=True)
        async with self.enter(self._bob):
            pass  # has published its keys
        async with AsyncExitStack() as stack:
            with self.meter.measures("first-login"):
                await stack.enter_async_context(self.enter(self._alice))
            await quiet(self.far)
        await quiet(self.far)

    async def talk(self) -> None:
        """Alice logs in again and writes to Bob, twice, and then to strangers."""
        assert self._alice is not None  # noqa: S101 - the first step made them
        assert self._bob is not None  # noqa: S101 - the same
        async with AsyncExitStack() as stack:
            reader = await stack.enter_async_context(self.enter(self._bob))
            with self.meter.measures("login"):
                writer = await stack.enter_async_context(self.enter(self._alice))
            for subject in ("first-message", "later-message"):
                await quiet(self.far)
                await self._deliver(subject, writer, [reader], [self._bob])
            if self.course.strangers:
                await self._write_to_strangers(writer)
            await quiet(self.far)
        await quiet(self.far)

    async def _write_to_strangers(self, writer: Peer) -> None:
        names = range(self.course.strangers)
        logins = [await self.stage.enrol(f"s{name}", self.near) for name in names]
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(self.enter(each)) for each in logins
            ]
            await quiet(self.far)
            await self._deliver("strangers", writer, readers, logins)

    async def _deliver(
        self,
        subject: str,
        writer: Peer,
        readers: Sequence[Peer],
        logins: Sequence[Login],
    ) -> None:
        """Measure until all have read it."""
        to = [str(login.jid) for login in logins]
        async with asyncio.TaskGroup() as tasks:
            with self.meter.measures(subject, size=len(to), is_on_its_way=True):
                if len(to) == 1:
                    tasks.create_task(writer.say(to[0], _TEXT))
                else:
                    tasks.create_task(writer.say_to_all(to, _TEXT))
                for reader in readers:
                    _check(await reader.hear(), _TEXT)

    async def catch_up(self) -> None:
        """Bob writes while Alice is away; she logs in and reads all of it."""
        assert self._alice is not None  # noqa: S101 - the first step made them
        assert self._bob is not None  # noqa: S101 - the same
        count = self.course.backlog
        async with self.enter(self._bob) as writer:
            await writer.pile_up(str(self._alice.jid), count)
        async with AsyncExitStack() as stack:
            with self.meter.measures("backlog", size=count):
                reader = await stack.enter_async_context(self.enter(self._alice))
                heard = {await reader.hear() for _ in range(count)}
            _check(len(heard), count)


def _check(found: object, expected: object) -> None:
    """Make sure that a fast wrong answer does not win."""
    if found != expected:
        raise BenchmarkError(
            "something else was read than was said",
            why=f"it should have been {expected!r}",
        )
