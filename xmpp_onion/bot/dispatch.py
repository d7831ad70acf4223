"""What becomes of a message: which handler gets it, and what is answered.

Nothing gets here that was not decrypted. A handler runs bounded, and whatever it
raises is answered with a number that leads to the log, never with a text of the
program: that may quote somebody else's message.
"""

import asyncio
import logging
import secrets
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.bot.arguments import parse
from xmpp_onion.bot.context import Context, Host
from xmpp_onion.bot.conversation import FSM
from xmpp_onion.bot.forms import fill_form
from xmpp_onion.bot.handlers import Handler, Plan, Services, plan
from xmpp_onion.bot.health import Counts
from xmpp_onion.bot.help import describe, list_commands, usage_of
from xmpp_onion.bot.lanes import Lanes, Turn
from xmpp_onion.bot.limits import Limiter
from xmpp_onion.bot.line import Line
from xmpp_onion.bot.memory import Memory
from xmpp_onion.bot.questions import Questions
from xmpp_onion.bot.rates import Rate
from xmpp_onion.bot.router import (
    Command,
    Job,
    Listener,
    Middleware,
    Router,
    Watcher,
)
from xmpp_onion.bot.untrusted import Doorstep, Untrusted
from xmpp_onion.chat import Attachment, Event, Message, Undecryptable
from xmpp_onion.e2ee import TrustLevel
from xmpp_onion.errors import (
    AddressError,
    CrowdedError,
    EncryptionError,
    RateLimitedError,
    RoomError,
    UsageError,
)
from xmpp_onion.reader import Claim

__all__ = ["Dispatcher", "Rules"]

log = logging.getLogger(__name__)

# Handlers that run at the same time, of one person in one place one; who waits for an
# answer is not counted.
_AT_ONCE: Final = 16
# Of all who are not believed one, so that they take nobody's turn.
_UNTRUSTED: Final = "untrusted"


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all handlers of a bot; see ``Bot``.

    Attributes:
        prefix: What commands begin with.
        timeout: How long a handler may take.
        max_age: From when on a command is too old to be done.
        answers: How often it answers in one place.
        replay: Do commands also if they are too old.
    """

    prefix: str
    timeout: timedelta
    max_age: timedelta
    answers: Rate
    replay: bool


class Dispatcher:
    """Hands each event to whom it concerns.

    Args:
        host: The bot, as handlers see it.
        router: Its handlers.
        rules: What holds for all of them.
        line: Where it comes from, and where answers go.
        questions: What handlers wait for.
        services: What handlers get by type, besides what comes with a message.
    """

    def __init__(
        self,
        host: Host,
        *,
        router: Router,
        rules: Rules,
        line: Line,
        questions: Questions,
        services: Services,
    ) -> None:
        self._host = host
        self._router = router
        self._rules = rules
        self._line = line
        self._questions = questions
        self._given = services
        self.memory = Memory(line.notes, "bot:")
        self.lanes = Lanes(_AT_ONCE)
        self._doorstep = Doorstep(line.jid, host.clock)
        self._answers = Limiter(rules.answers, host.clock)
        self._rates = {
            each.name: Limiter(each.rate, host.clock)
            for each in router.commands
            if each.rate
        }
        self._places = {
            each.name: asyncio.Semaphore(each.at_once)
            for each in router.commands
            if each.at_once
        }
        self.counts = Counts()
        self._commands: Mapping[str, Command] = {
            name.casefold(): each
            for each in router.commands
            for name in (each.name, *each.aliases)
        }

    async def take(self, claim: Claim) -> None:
        """Put an event into the lane of whom it is of."""
        event, lane = claim.event, ""
        if isinstance(event, Message):
            if self._is_answer(event):
                await claim.handled()
                return
            # Of a person in a place: who is asked something there is heard elsewhere.
            lane = f"{event.sender.bare} {event.room or ''}"
        untrusted = None
        if self._router.stranger_handler is not None:
            untrusted = self._doorstep.look_at(event)

        async def work(turn: Turn) -> None:
            if not await self._handle(claim, untrusted, turn):
                await claim.handled()

        await self.lanes.add(lane if untrusted is None else _UNTRUSTED, work)

    def _is_answer(self, message: Message) -> bool:
        """Tell whether it answers a question of a handler that waits for it."""
        place = message.room or message.sender.bare
        return self._line.accepts(message) and self._questions.take(
            message.sender.bare, place, message.text
        )

    async def _handle(
        self, claim: Claim, untrusted: Untrusted | None, turn: Turn
    ) -> bool:
        """Do what is to be done; return whether the event was settled with it."""
        event = claim.event
        if isinstance(event, Message) and await self._hear(event, claim, turn):
            return True
        self.counts.unreadable += isinstance(event, Undecryptable)
        for watcher in self._router.watchers:
            if isinstance(event, watcher.kind) and not isinstance(event, Message):
                await self._watch(watcher, event)
        return untrusted is not None and await self._meet(untrusted, claim)

    async def _watch(self, watcher: Watcher, event: Event) -> None:
        services = {**self._given, type(event): event}
        await self._bounded(watcher.plan, services, {})

    async def _meet(self, untrusted: Untrusted, claim: Claim) -> bool:
        """Tell the one handler that wants to know of it; what it says is encrypted."""
        plan = self._router.stranger_handler
        assert plan is not None  # noqa: S101 - else nothing is looked at
        services = {**self._given, Untrusted: untrusted}
        answer = await self._bounded(plan, services, {})
        return await self._reply(untrusted.place, answer, claim)

    async def greet(self, line: Line, hooks: Iterable[Handler]) -> None:
        """Call the hooks each time that the connection is there; never returns."""
        plans = [plan(hook, reads_text=False) for hook in hooks]
        async for _ in line.connections():
            for each in plans:
                await self._bounded(each, self._given, {})

    async def do(self, job: Job) -> None:
        """Do a job; what it raises is in the log."""
        await self._bounded(job.plan, self._given, {})

    async def _bounded(
        self, plan: Plan, services: Mapping[type, object], given: Mapping[str, object]
    ) -> object:
        """Call for a time; what is raised is in the log, and None returned."""
        try:
            async with asyncio.timeout(self._rules.timeout.total_seconds()):
                return await plan.call(services, given)
        except Exception as error:  # noqa: BLE001 - one event must not end the bot
            self.counts.failed += 1
            _log_failure(plan.name, error)
            return None

    # --- messages ----------------------------------------------------------------

    async def _hear(self, message: Message, claim: Claim, turn: Turn) -> bool:
        if message.sender.bare == self._line.jid.bare:
            return False
        if not self._line.accepts(message):
            self.counts.ignored += 1
            log.info(
                "ignored a message of %s: its device is %s",
                message.sender.short,
                _described(message.trust),
            )
            return False
        self.counts.heard += 1
        place = message.room or message.sender.bare
        fsm = FSM(self.memory, f"{message.sender.bare} {place}")
        ctx = Context(self._host, self._line, message, fsm, turn=turn)
        call = await self._choose(ctx, claim)
        return call is not None and await self._answer(ctx, call, claim)

    async def _choose(
        self, ctx: Context, claim: Claim
    ) -> Callable[[], Awaitable[object]] | None:
        """Return what is to be called; None if nobody cares."""
        prefix = self._rules.prefix
        if self._router.commands and ctx.message.text.startswith(prefix):
            name, _, rest = ctx.message.text[len(prefix) :].partition(" ")
            first, newline, more = name.partition("\n")
            typed = newline + more + " " + rest
            call = self._find_command(ctx, claim, first, typed)
            if call is not None:
                return call
        state = await ctx.fsm.state()
        for listener in self._router.listeners:
            if _is_meant(listener, ctx, state):
                return lambda: self._call(listener.plan, ctx, {})
        return None

    def _find_command(
        self, ctx: Context, claim: Claim, name: str, text: str
    ) -> Callable[[], Awaitable[object]] | None:
        command = self._commands.get(name.casefold())
        if name.casefold() == "help" and command is None:
            return lambda: self._help(ctx, text.strip())
        if is_form := name.casefold() == "form" and command is None:
            name = text.strip().removeprefix(self._rules.prefix) or name
            command = self._commands.get(name.casefold())
        if command is None or not (command.when is None or command.when(ctx)):
            # Who may not use it is told no more than who mistypes it.
            if ctx.message.room is not None or not name[:1].isalpha():
                return None
            return lambda: self._unknown(name)
        ctx.command = command.name
        return lambda: self._run(command, ctx, claim, text, is_form=is_form)

    async def _unknown(self, name: str) -> str:
        prefix = self._rules.prefix
        return self._host.texts.unknown.format(
            name=prefix + name[:40], help=f"{prefix}help"
        )

    async def _help(self, ctx: Context, name: str) -> str:
        command = self._commands.get(name.removeprefix(self._rules.prefix).casefold())
        if command is None or not (command.when is None or command.when(ctx)):
            return list_commands(self._router.commands, ctx, self._rules.prefix)
        return describe(command, self._rules.prefix)

    async def _run(
        self,
        command: Command,
        ctx: Context,
        claim: Claim,
        text: str,
        *,
        is_form: bool = False,
    ) -> object:
        """Do a command, once: one that a process died over is not done again."""
        if claim.is_begun:
            log.warning("%s was interrupted, and is not done again", command.name)
            return self._host.texts.interrupted
        age = self._host.clock.now() - ctx.message.at
        if not self._rules.replay and age > self._rules.max_age:
            return self._host.texts.old.format(minutes=int(age / timedelta(minutes=1)))
        self._check_rate(command, ctx)
        if is_form:
            filled = await fill_form(command, ctx)
            if filled is None:
                return self._host.texts.form_ended
            given = filled
        else:
            given = parse(command.plan.arguments, text)
        async with AsyncExitStack() as stack:
            places = self._places.get(command.name)
            if places is not None and ctx.turn is not None:
                if places.locked():
                    return self._host.texts.busy
                await stack.enter_async_context(ctx.turn.within(places))
            await claim.begin()
            return await self._call(command.plan, ctx, given)

    def _check_rate(self, command: Command, ctx: Context) -> None:
        if command.rate is None:
            return
        counted = {
            "each": f"{ctx.sender} {ctx.place}",
            "person": str(ctx.sender),
            "place": str(ctx.place),
            "all": "",
        }[command.per]
        seconds = self._rates[command.name].take(counted)
        if seconds:
            raise RateLimitedError(
                f"{command.name} is used too often", retry_after=seconds
            )

    async def _call(
        self, plan: Plan, ctx: Context, given: Mapping[str, object]
    ) -> object:
        return await plan.call(self._services(ctx), given)

    def _services(self, ctx: Context) -> dict[type, object]:
        services = {
            **self._given,
            Context: ctx,
            Message: ctx.message,
            FSM: ctx.fsm,
        }
        if (room := ctx.room) is not None:
            services[type(room)] = room
        if (attachment := ctx.message.attachment) is not None:
            services[Attachment] = attachment
        return services

    # --- answers -----------------------------------------------------------------

    async def _answer(
        self, ctx: Context, call: Callable[[], Awaitable[object]], claim: Claim
    ) -> bool:
        """Answer; return whether the event was settled with the answer."""
        try:
            answer = await self._guarded(ctx, call)
        except EncryptionError as error:
            log.warning("could not answer %s: %s", ctx.sender.short, error.what)
            return False
        return await self._reply(ctx.place, answer, claim)

    async def _reply(self, place: JID, answer: object, claim: Claim) -> bool:
        """Say a text that a handler returned; return whether that settled the event."""
        if not isinstance(answer, str) or not answer or not self._may_answer(place):
            return False
        try:
            # However long the network is away: the answer is made only once, and
            # once it is on the disk, what it answers is not there any more.
            await self._line.queue(place, answer, timeout=None, along=claim.settle)
        except (AddressError, EncryptionError, RoomError) as error:
            log.warning("could not answer in %s: %s", place.short, error.what)
            return False
        self.counts.answered += 1
        return True

    def _may_answer(self, place: JID) -> bool:
        is_left = not self._answers.take(str(place))
        if not is_left:
            self.counts.dropped += 1
            log.warning(
                "answers in %s come too often; this one is dropped", place.short
            )
        return is_left

    async def _guarded(
        self, ctx: Context, call: Callable[[], Awaitable[object]]
    ) -> object:
        """Call within the middleware and a time; turn what is raised into an answer."""
        try:
            seconds = self._rules.timeout.total_seconds()
            async with asyncio.timeout(seconds) as ctx.deadline:
                return await self._through(ctx, call, self._router.layers)
        except EncryptionError:
            raise
        except Exception as error:  # noqa: BLE001 - one message must not end the bot
            return await self._on_error(ctx, error)

    async def _through(
        self,
        ctx: Context,
        call: Callable[[], Awaitable[object]],
        layers: tuple[Middleware, ...],
    ) -> object:
        if not layers:
            return await call()
        return await layers[0](ctx, lambda: self._through(ctx, call, layers[1:]))

    async def _on_error(self, ctx: Context, error: Exception) -> object:
        handler = _nearest(self._router.error_handlers, type(error))
        if handler is not None:
            services = {**self._services(ctx), type(error): error}
            try:
                return await handler.plan.call(services, {})
            except Exception as second:  # noqa: BLE001 - as above
                error = second
        return self._say(ctx, error)

    def _say(self, ctx: Context, error: Exception) -> str:
        texts = self._host.texts
        if isinstance(error, UsageError):
            command = self._commands.get(ctx.command)
            if command is not None:
                return usage_of(command, self._rules.prefix, texts.tell(error), texts)
            return texts.tell(error)
        if isinstance(error, CrowdedError):
            return texts.crowded.format(seconds=int(error.retry_after) + 1)
        if isinstance(error, RateLimitedError):
            return texts.slow_down.format(seconds=int(error.retry_after) + 1)
        ctx.failure_id = secrets.token_hex(4)
        self.counts.failed += 1
        _log_failure(f"{ctx.command or 'a handler'} [{ctx.failure_id}]", error)
        if isinstance(error, TimeoutError):
            return texts.late
        return texts.failed.format(id=ctx.failure_id)


def _described(trust: str) -> str:
    """Return what keeps a message from being heard."""
    # What a person distrusted is not even decrypted: it gets here by no pin alone.
    return "not pinned" if trust == TrustLevel.DISTRUSTED.word else trust


def _is_meant(listener: Listener, ctx: Context, state: str) -> bool:
    if listener.state is not None:
        return listener.state.name == state and (
            listener.when is None or listener.when(ctx)
        )
    return listener.when is None or listener.when(ctx)


def _nearest(handlers: tuple[Watcher, ...], kind: type[Exception]) -> Watcher | None:
    for parent in kind.__mro__:
        for handler in handlers:
            if handler.kind is parent:
                return handler
    return None


def _log_failure(name: str, error: Exception) -> None:
    # Where it failed, and not its text: that may quote the message.
    log.error(
        "%s failed\n%s%s",
        name,
        "".join(traceback.format_tb(error.__traceback__)),
        type(error).__name__,
    )
