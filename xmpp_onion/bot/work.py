"""A bot at work on one account: what it is made of, how it begins and how it ends."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from xmpp_onion.bot.context import Host
from xmpp_onion.bot.dispatch import Dispatcher, Rules
from xmpp_onion.bot.handlers import Handler, Plan, Services
from xmpp_onion.bot.health import Health
from xmpp_onion.bot.jobs import Jobs
from xmpp_onion.bot.line import Line
from xmpp_onion.bot.pace import PacedLine
from xmpp_onion.bot.questions import Questions
from xmpp_onion.bot.rates import Rate
from xmpp_onion.bot.router import Router
from xmpp_onion.errors import XmppOnionError

__all__ = ["Hooks", "Work"]

# Seconds for what is being handled, and what waits for the server's ack, when the bot
# is told to end; and between two looks at the latter.
_DRAIN, _LOOK = 8.0, 0.05
# Seconds for an answer of the server's, when somebody wants to know how the bot is.
_PING = 5.0


@dataclass(slots=True)
class Hooks:
    """What is called beside the handlers of messages.

    Attributes:
        startup: Before the first message.
        connected: Each time that the connection is there.
        shutdown: After the last message.
        background: From the start to the end.
    """

    startup: list[Handler] = field(default_factory=list)
    connected: list[Handler] = field(default_factory=list)
    shutdown: list[Handler] = field(default_factory=list)
    background: list[Plan] = field(default_factory=list)


class Work:
    """Answers what an account receives.

    Args:
        host: The bot, as handlers see it.
        router: Its handlers.
        rules: What holds for all of them.
        line: The account.
        sends: How much is said in all, and to each.
        questions: What handlers wait for.
        services: What handlers get by type.

    Attributes:
        line: The account, which takes its time.
        tasks: What runs beside; None while it does not run.
    """

    def __init__(
        self,
        host: Host,
        *,
        router: Router,
        rules: Rules,
        line: Line,
        sends: tuple[Rate, Rate],
        questions: Questions,
        services: Services,
    ) -> None:
        self.line: Line = PacedLine(line, host.clock, *sends)
        self.tasks: asyncio.TaskGroup | None = None
        self._questions = questions
        self._services = services
        self._dispatcher = Dispatcher(
            host,
            router=router,
            rules=rules,
            line=self.line,
            questions=questions,
            services=services,
        )
        self._jobs = Jobs(
            router.jobs,
            memory=self._dispatcher.memory,
            clock=host.clock,
            call=self._dispatcher.do,
        )

    async def run(self, hooks: Hooks) -> None:
        """Answer until cancelled; what is being handled then has some seconds."""
        try:
            for hook in hooks.startup:
                await hook()
            async with asyncio.TaskGroup() as self.tasks:
                working = self.tasks.create_task(self._dispatcher.lanes.run())
                beside = [
                    self.tasks.create_task(self._jobs.run()),
                    self.tasks.create_task(
                        self._dispatcher.greet(self.line, hooks.connected)
                    ),
                ]
                for each in hooks.background:
                    self.tasks.create_task(self._do_beside(each))
                try:
                    await self._take_in()
                finally:
                    for task in beside:
                        task.cancel()
                    await self._drain()
                    working.cancel()
        finally:
            for hook in hooks.shutdown:
                await hook()

    async def _take_in(self) -> None:
        async with aclosing(self.line.claims()) as claims:
            async for claim in claims:
                await self._dispatcher.take(claim)

    async def _do_beside(self, work: Plan) -> None:
        await work.call(self._services, {})

    async def _drain(self) -> None:
        """Let what is being handled end, and what was said go out.

        What waits for its turn is on the disk, and comes after the next start.
        """
        try:
            async with asyncio.timeout(_DRAIN):
                await self._dispatcher.lanes.finish()
                while not self.line.is_away and await self.line.queued():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            pass

    async def health(self) -> Health:
        """Return how it is; asks the server for an answer."""
        is_connected = not self.line.is_away
        return Health(
            is_connected,
            ping=await self._ping() if is_connected else None,
            outbox=await self.line.queued(),
            waiting=self._dispatcher.lanes.waiting,
            running=self._dispatcher.lanes.running,
            asking=len(self._questions),
            counts=replace(self._dispatcher.counts),
            jobs=dict(self._jobs.due),
        )

    async def _ping(self) -> float | None:
        """Return how many seconds the server takes to answer; None for too many."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self.line.ping(_PING)
        except (XmppOnionError, TimeoutError):
            return None
        return loop.time() - started
