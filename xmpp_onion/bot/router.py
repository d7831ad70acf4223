"""Router: handlers, commands and jobs that belong together, without a connection."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, overload

from xmpp_onion.bot.conversation import State
from xmpp_onion.bot.filters import Filter
from xmpp_onion.bot.handlers import Handler, Plan, plan
from xmpp_onion.bot.rates import Rate
from xmpp_onion.bot.schedule import Schedule, read_schedule
from xmpp_onion.chat import Event

if TYPE_CHECKING:
    from xmpp_onion.bot.context import Context

__all__ = ["Command", "Job", "Listener", "Middleware", "Next", "Router", "Watcher"]

Next: TypeAlias = Callable[[], Awaitable[object]]
"""Calls what is inside, and returns its answer."""

Middleware: TypeAlias = Callable[["Context", Next], Awaitable[object]]
"""Gets the context and what to call next; returns its answer, or another one."""

Per: TypeAlias = Literal["each", "person", "place", "all"]
"""Of whom a rate is counted: each person in each place, a person, a place, or all."""

HandlerT = TypeVar("HandlerT", bound=Handler)
MiddlewareT = TypeVar("MiddlewareT", bound=Middleware)


@dataclass(frozen=True, slots=True)
class Listener:
    """A handler of messages.

    Attributes:
        plan: How it is called.
        when: Which messages it gets; None for all.
        state: In which state of a conversation; None for whatever no state takes.
    """

    plan: Plan
    when: Filter | None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """What is typed behind the prefix.

    Attributes:
        name: Without the prefix.
        aliases: Other names of it.
        plan: How it is called.
        when: Who may, and where; None for everybody whose device is accepted.
        rate: How often; None for no limit of its own.
        per: Of whom that is counted.
        at_once: How many of it run at the same time; 0 for as many as there are.
        text: What it does: the docstring of its handler.
    """

    name: str
    aliases: tuple[str, ...]
    plan: Plan
    when: Filter | None
    rate: Rate | None
    text: str
    per: Per = "each"
    at_once: int = 0

    @property
    def usage(self) -> str:
        """How it is used, without the prefix."""
        return " ".join([self.name, *(each.usage for each in self.plan.arguments)])


@dataclass(frozen=True, slots=True)
class Job:
    """What is done by the clock.

    Attributes:
        name: Of its handler: its times are kept under it.
        plan: How it is called.
        schedule: When.
    """

    name: str
    plan: Plan
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Watcher:
    """A handler of events that are no messages, or of errors.

    Attributes:
        plan: How it is called.
        kind: Of which class the events or errors are.
    """

    plan: Plan
    kind: type


@dataclass(slots=True)
class _Parts:
    """What was registered with a router, each kind in its order."""

    listeners: list[Listener] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    errors: list[Watcher] = field(default_factory=list)
    middleware: list[Middleware] = field(default_factory=list)
    stranger: Plan | None = None


class Router:
    """Handlers to be included in a bot, or in another router.

    Args:
        when: All its messages and commands need this as well.
    """

    def __init__(self, *, when: Filter | None = None) -> None:
        self._when = when
        self._parts = _Parts()

    # --- what was registered -----------------------------------------------------

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Handlers of messages, in their order."""
        return tuple(self._parts.listeners)

    @property
    def commands(self) -> tuple[Command, ...]:
        """Commands, in their order."""
        return tuple(self._parts.commands)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What is done by the clock."""
        return tuple(self._parts.jobs)

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        """Handlers of other events."""
        return tuple(self._parts.watchers)

    @property
    def error_handlers(self) -> tuple[Watcher, ...]:
        """Handlers of errors."""
        return tuple(self._parts.errors)

    @property
    def layers(self) -> tuple[Middleware, ...]:
        """Middleware, the outermost first."""
        return tuple(self._parts.middleware)

    @property
    def stranger_handler(self) -> Plan | None:
        """Who is told of what is not believed."""
        return self._parts.stranger

    # --- messages ----------------------------------------------------------------

    @overload
    def message(self, handler: HandlerT, /) -> HandlerT: ...

    @overload
    def message(
        self, when: Filter | State | None = None, /
    ) -> Callable[[HandlerT], HandlerT]: ...

    def message(
        self, what: HandlerT | Filter | State | None = None, /
    ) -> HandlerT | Callable[[HandlerT], HandlerT]:
        """Register a handler of messages; the first that fits gets a message.

        ::

            @bot.message
            async def all_others(msg: Message) -> str: ...

            @bot.message(direct & has_file)
            async def keep(msg: Message) -> str: ...

        Args:
            what: The handler; or which messages, or in which state of a conversation.

        Raises:
            TypeError: Nothing provides a parameter of the handler.
        """
        if what is None or isinstance(what, Filter | State):
            return lambda handler: self._add_listener(handler, what)
        return self._add_listener(what, None)

    def _add_listener(self, handler: HandlerT, what: Filter | State | None) -> HandlerT:
        when = self._joined(what if isinstance(what, Filter) else None)
        state = what if isinstance(what, State) else None
        parts = Listener(plan(handler, reads_text=False), when, state)
        self._parts.listeners.append(parts)
        return handler

    def _joined(self, when: Filter | None) -> Filter | None:
        if self._when is None or when is None:
            return self._when or when
        return self._when & when

    # --- commands ----------------------------------------------------------------

    @overload
    def command(self, handler: HandlerT, /) -> HandlerT: ...

    @overload
    def command(
        self,
        name: str = "",
        /,
        *,
        when: Filter | None = None,
        rate: str = "",
        per: Per = "each",
        at_once: int = 0,
        aliases: Iterable[str] = (),
    ) -> Callable[[HandlerT], HandlerT]: ...

    def command(
        self,
        what: HandlerT | str = "",
        /,
        *,
        when: Filter | None = None,
        rate: str = "",
        per: Per = "each",
        at_once: int = 0,
        aliases: Iterable[str] = (),
    ) -> HandlerT | Callable[[HandlerT], HandlerT]:
        """Register a command. Its docstring is its help, its annotations its usage.

        ::

            @bot.command(rate="5/m")
            async def add(a: int, b: int = 1) -> str:
                \"\"\"Add two numbers.\"\"\"
                return str(a + b)

        Parameters whose types are provided (``Context``, ``Message``, ``Attachment``,
        ``Room``, ``FSM``, ``Bot``, and what ``provide()`` was given) are injected, all
        others read from the text: str, int, float, bool, timedelta, datetime, JID, an
        Enum, a Literal, ``X | None``, a list, ``Annotated[T, parser]``. A keyword-only
        one takes the rest of the text as it was typed.

        Args:
            what: The handler; or the name, by default the handler's.
            when: Who may, and where.
            rate: How often it may be used, such as ``5/m``; ``1/30s`` is a cooldown.
            per: Whose uses are counted: of ``each`` person in each place, of a
                ``person`` in all places, of all in one ``place``, or of ``all``.
            at_once: How many of it may run at the same time; who comes then is told
                to come back. Who asks his caller something is not counted until he has
                the answer. 0 for no limit but that of the bot.
            aliases: Other names of it.

        Raises:
            TypeError: A parameter has no type, or one that nothing reads.
            ValueError: There is such a command, or ``rate`` is none.
        """
        limit = Rate.read(rate) if rate else None

        def add(handler: HandlerT) -> HandlerT:
            name = what if isinstance(what, str) and what else handler.__name__
            text = (handler.__doc__ or "").strip()
            parts = plan(handler, reads_text=True)
            names = (name.rstrip("_").replace("_", "-"), *aliases)
            self._add_command(
                Command(
                    names[0],
                    names[1:],
                    parts,
                    self._joined(when),
                    limit,
                    text,
                    per=per,
                    at_once=at_once,
                )
            )
            return handler

        return add if isinstance(what, str) else add(what)

    def _add_command(self, command: Command) -> None:
        taken = {name for each in self.commands for name in (each.name, *each.aliases)}
        for name in (command.name, *command.aliases):
            if name in taken or not name or any(map(str.isspace, name)):
                raise ValueError(f"{name!a} is no name, or there is such a command")
        self._parts.commands.append(command)

    # --- the rest ----------------------------------------------------------------

    def on(self, event: type[Event]) -> Callable[[HandlerT], HandlerT]:
        """Register a handler of an event that is no message, such as ``Retraction``."""

        def add(handler: HandlerT) -> HandlerT:
            self._parts.watchers.append(Watcher(plan(handler, reads_text=False), event))
            return handler

        return add

    def untrusted(self, handler: HandlerT) -> HandlerT:
        """Register who is told that something came that is not believed.

        That is what came without encryption, or from a device that nobody decided
        about. It gets an ``Untrusted``, of each sender six a minute and of all sixty,
        and what it returns is encrypted for the devices of the sender that are
        accepted; if there are none, or one is undecided, nothing is said.

        ::

            @bot.untrusted
            async def knock(who: Untrusted, own: Bot) -> None:
                await own.send("root@….onion", f"{who.sender} is not known to me")

        Raises:
            ValueError: There is such a handler already.
        """
        self._take_stranger(plan(handler, reads_text=False))
        return handler

    def _take_stranger(self, handler: Plan | None) -> None:
        if handler is not None and self._parts.stranger is not None:
            raise ValueError("there is a handler of what is not trusted already")
        self._parts.stranger = handler or self._parts.stranger

    def error(self, kind: type[Exception]) -> Callable[[HandlerT], HandlerT]:
        """Register who answers when a handler raises; the nearest kind is asked.

        ::

            @bot.error(RateLimitedError)
            async def slow(ctx: Context, error: RateLimitedError) -> str: ...
        """

        def add(handler: HandlerT) -> HandlerT:
            self._parts.errors.append(Watcher(plan(handler, reads_text=False), kind))
            return handler

        return add

    def middleware(self, layer: MiddlewareT) -> MiddlewareT:
        """Register what stands around all handlers, the first outermost.

        ::

            @bot.middleware
            async def timed(ctx: Context, call_next: Next) -> object:
                started = time.monotonic()
                try:
                    return await call_next()
                finally:
                    log.info("%s took %.1f s", ctx.command, time.monotonic() - started)
        """
        self._parts.middleware.append(layer)
        return layer

    def job(
        self,
        *,
        every: str | timedelta = "",
        cron: str = "",
        jitter: str | timedelta = timedelta(),
        misfire: Literal["skip", "run"] = "skip",
    ) -> Callable[[HandlerT], HandlerT]:
        """Register what is done by the clock, in UTC; its times are kept on disk.

        Args:
            every: How often, such as ``5m``; or
            cron: five fields: minute, hour, day, month, day of the week.
            jitter: Later by a random part of this, so that not all come at once.
            misfire: What was due while the bot was down is skipped, or run once.

        Raises:
            ValueError: Not exactly one of ``every`` and ``cron``, or it cannot be
                read.
        """
        schedule = read_schedule(every, cron, jitter, misfire)

        def add(handler: HandlerT) -> HandlerT:
            name = handler.__name__
            if any(each.name == name for each in self.jobs):
                raise ValueError(f"there is a job {name} already")
            parts = plan(handler, reads_text=False)
            self._parts.jobs.append(Job(name, parts, schedule))
            return handler

        return add

    def include(self, router: "Router") -> None:
        """Take over all that another router has now.

        Raises:
            ValueError: Both have a command, or a job, of one name, or a handler of
                what is not trusted.
        """
        if names := {job.name for job in self.jobs} & {job.name for job in router.jobs}:
            raise ValueError(f"there is a job {min(names)} already")
        self._take_stranger(router.stranger_handler)
        for command in router.commands:
            self._add_command(replace(command, when=self._joined(command.when)))
        self._parts.listeners += [
            replace(each, when=self._joined(each.when)) for each in router.listeners
        ]
        self._parts.jobs += router.jobs
        self._parts.watchers += router.watchers
        self._parts.errors += router.error_handlers
        self._parts.middleware += router.layers
