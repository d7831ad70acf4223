"""Bot: an account, a trust policy, and the handlers that answer.

Handlers see only what was decrypted and comes from a device that the policy
accepts; what they return goes back encrypted. There is no other way out.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from xmpp_onion.address import JID
from xmpp_onion.agent.desk import hold
from xmpp_onion.agent.failures import explain
from xmpp_onion.agent.memory import forbid_core_dumps
from xmpp_onion.agent.profile import load_account
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.agent.watchdog import watched
from xmpp_onion.bot.clock import Clock, SystemClock
from xmpp_onion.bot.context import Context
from xmpp_onion.bot.conversation import FSM
from xmpp_onion.bot.dispatch import Dispatcher, Rules
from xmpp_onion.bot.handlers import Handler, Plan
from xmpp_onion.bot.jobs import Jobs
from xmpp_onion.bot.line import Line
from xmpp_onion.bot.memory import Memory
from xmpp_onion.bot.questions import Questions
from xmpp_onion.bot.router import Router
from xmpp_onion.bot.texts import Texts
from xmpp_onion.chat import Delivery, Message, Progress
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.rooms import Room

__all__ = ["Bot"]

T = TypeVar("T")
HookT = TypeVar("HookT", bound=Handler)

# Seconds for what is being handled when the bot is told to end.
_DRAIN = 8.0


class Bot(Router):
    """An encrypted bot.

    ::

        bot = Bot("echo", trust=Trust.PINNED)

        @bot.message
        async def echo(msg: Message) -> str:
            return msg.text

        bot.run()

    Args:
        name: The profile whose account it uses; make one with
            ``xmpp-onion --profile NAME account add``.
        trust: Whose orders it takes. There is no default: the choice is yours.
        prefix: What commands begin with.
        roles: Accounts by the name of what they may: ``{"admin": {"root@….onion"}}``.
            Only with a device that ``trust`` accepts.
        texts: What it says by itself.
        timeout: How long a handler may take.
        replay: Do commands also if they are old, as after a time without a network.
        max_age: What is old.

    Attributes:
        clock: The machine's; a test sets another one.
        rules: What holds for all handlers.
    """

    def __init__(
        self,
        name: str,
        *,
        trust: Trust,
        prefix: str = "!",
        roles: Mapping[str, Collection[str]] | None = None,
        texts: Texts | None = None,
        timeout: timedelta = timedelta(seconds=60),
        replay: bool = False,
        max_age: timedelta = timedelta(minutes=10),
    ) -> None:
        super().__init__()
        if not prefix or any(map(str.isspace, prefix)):
            raise ValueError("a prefix cannot be empty or have blanks")
        self.name = name
        self.trust = trust
        self.rules = Rules(prefix, timeout, max_age, replay)
        self.roles: Mapping[str, frozenset[JID]] = {
            role: frozenset(JID(each).bare for each in people)
            for role, people in (roles or {}).items()
        }
        self.texts = texts or Texts()
        self.clock: Clock = SystemClock()
        self._questions = Questions()
        self._provided: dict[type, object] = {}
        self._startup: list[Handler] = []
        self._shutdown: list[Handler] = []
        self._line: Line | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Bot {self.name!r} trust={self.trust}>"

    # --- what handlers get --------------------------------------------------------

    def provide(self, *values: object) -> None:
        """Give handlers these values wherever they want one of their types."""
        for value in values:
            self._provided[type(value)] = value

    @property
    def services(self) -> dict[type, object]:
        """What handlers get by type, besides what comes with a message."""
        return {**self._provided, type(self): self}

    @property
    def line(self) -> Line:
        """The account that it serves.

        Raises:
            RuntimeError: It serves none at the moment.
        """
        if self._line is None:
            raise RuntimeError("the bot is not running")
        return self._line

    @property
    def state(self) -> Memory:
        """What it remembers over a restart: ``await bot.state.get("key")``."""
        return Memory(self.line.notes, "bot:state:")

    async def send(self, to: str, text: str) -> Delivery:
        """Encrypt ``text``; it is on the disk when this returns, and goes out.

        Raises:
            EncryptionError: It cannot be encrypted; nothing was kept.
        """
        return await self.line.queue(to, text, timeout=None)

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Encrypt and store a file, and send its link; see ``Client.send_file``."""
        return await self.line.send_file(to, path, progress)

    async def ask(
        self,
        ctx: Context,
        question: str,
        kind: Callable[[str], T] | type[T] | None = None,
        timeout: str | timedelta = "5m",
    ) -> T | str:
        """Ask the sender of a message; see ``Context.ask``."""
        return await self._questions.ask(ctx, question, kind, timeout)

    @property
    def open_questions(self) -> int:
        """How many handlers wait for an answer."""
        return len(self._questions)

    def startup(self, hook: HookT) -> HookT:
        """Register what is called before the first message."""
        self._startup.append(hook)
        return hook

    def shutdown(self, hook: HookT) -> HookT:
        """Register what is called after the last one."""
        self._shutdown.append(hook)
        return hook

    # --- running ------------------------------------------------------------------

    def check(self) -> None:
        """Raise unless each handler gets what it wants.

        Raises:
            TypeError: Nothing provides a type; named with the handler.
        """
        always = {*self.services, Context, Message, FSM, Room}
        plans: list[tuple[Plan, set[type]]] = [
            *((each.plan, always) for each in self.listeners),
            *((each.plan, always) for each in self.commands),
            *((each.plan, {*always, each.kind}) for each in self.error_handlers),
            *((each.plan, {*self.services, each.kind}) for each in self.watchers),
            *((each.plan, {*self.services}) for each in self.jobs),
        ]
        for plan, provided in plans:
            for wanted in plan.missing(provided):
                raise TypeError(
                    f"{plan.name} wants a {wanted.__name__}, and nothing provides "
                    f"one: bot.provide({wanted.__name__}(...))"
                )

    async def serve(self, line: Line) -> None:
        """Answer what an account receives until cancelled.

        For a program of your own with a client of your own; ``run`` makes both. When
        it is cancelled, what is being handled has some seconds to end.

        Raises:
            TypeError: A handler wants what nothing provides.
        """
        self.check()
        self._line = line
        dispatcher = Dispatcher(
            self,
            router=self,
            rules=self.rules,
            line=line,
            questions=self._questions,
            services=self.services,
        )
        jobs = Jobs(
            self.jobs, memory=dispatcher.memory, clock=self.clock, call=dispatcher.do
        )
        try:
            for hook in self._startup:
                await hook()
            async with asyncio.TaskGroup() as tasks:
                working = tasks.create_task(dispatcher.lanes.run())
                doing = tasks.create_task(jobs.run())
                self._tasks = tasks
                try:
                    async with aclosing(line.claims()) as claims:
                        async for claim in claims:
                            await dispatcher.take(claim)
                finally:
                    doing.cancel()
                    await _drain(dispatcher)
                    working.cancel()
        finally:
            for hook in self._shutdown:
                await hook()
            self._line = self._tasks = None

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something beside, for as long as the bot runs.

        Raises:
            RuntimeError: It does not run.
        """
        if self._tasks is None:
            work.close()
            raise RuntimeError("the bot is not running")
        return self._tasks.create_task(work)

    def run(self, *, data_dir: Path | None = None) -> None:
        """Log in and answer until SIGINT or SIGTERM; then end cleanly.

        Uses the Tor at ``$XMPP_ONION_SOCKS`` if set, else a running one, else one
        of its own. A lost network is waited out. Ends the process with the exit
        codes of the command line.

        Args:
            data_dir: Where profiles live; ``$XMPP_ONION_DATA_DIR`` or the user's
                data folder by default.
        """
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("xmpp_onion").setLevel(logging.INFO)
        forbid_core_dumps()
        try:
            asyncio.run(self._run(data_dir))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except (XmppOnionError, OSError) as failure:
            error = explain(failure)
            sys.stderr.write(f"{self.name}: {error}\n")
            raise SystemExit(error.exit_code) from None

    async def _run(self, data_dir: Path | None) -> None:
        account = load_account(self.name, data_dir)
        async with (
            until_terminated(),
            hold(
                account,
                socks=os.environ.get("XMPP_ONION_SOCKS"),
                control=os.environ.get("XMPP_ONION_CONTROL"),
                trust=self.trust,
                login_timeout=None,
            ) as client,
        ):
            sys.stderr.write(
                f"{self.name}: ready as {client.jid}\n"
                f"{self.name}: fingerprint {client.fingerprint}\n"
            )
            async with watched(client):
                await self.serve(client)


async def _drain(dispatcher: Dispatcher) -> None:
    """Let what is being handled end, for some seconds."""
    try:
        async with asyncio.timeout(_DRAIN):
            await dispatcher.lanes.drained()
    except TimeoutError:
        pass
