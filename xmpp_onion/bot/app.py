"""Bot: an account, a trust policy, and the handlers that answer.

Handlers see only what was decrypted and comes from a device that the policy
accepts; what they return goes back encrypted. There is no other way out.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Self, TypeVar

from xmpp_onion import configuration as settings
from xmpp_onion.address import JID
from xmpp_onion.bot.clock import Clock, SystemClock
from xmpp_onion.bot.context import Context
from xmpp_onion.bot.conversation import FSM
from xmpp_onion.bot.dispatch import Rules
from xmpp_onion.bot.handlers import Handler, Plan, plan
from xmpp_onion.bot.health import Health, exposition
from xmpp_onion.bot.health_socket import serve_health
from xmpp_onion.bot.line import Line
from xmpp_onion.bot.memory import Memory
from xmpp_onion.bot.program import Program
from xmpp_onion.bot.questions import Questions
from xmpp_onion.bot.rates import Rate
from xmpp_onion.bot.router import Router
from xmpp_onion.bot.texts import Texts
from xmpp_onion.bot.untrusted import Untrusted
from xmpp_onion.bot.work import Hooks, Work
from xmpp_onion.chat import Attachment, Delivery, Message, Progress
from xmpp_onion.configuration import Configuration
from xmpp_onion.e2ee import Trust, parse_fingerprint
from xmpp_onion.errors import ConfigurationError
from xmpp_onion.files import PAGE_BYTES
from xmpp_onion.logs import Format
from xmpp_onion.rooms import Room

__all__ = ["Bot"]

T = TypeVar("T")
HookT = TypeVar("HookT", bound=Handler)


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
        pins: Fingerprints that it believes, by account, besides those that
            ``trust pin`` wrote into its own: for ``Trust.PINNED``.
        texts: What it says by itself.
        answers: How often it answers in one place; what is beyond is dropped, so that
            two bots that answer each other come to rest.
        sends: How much it says in all; what comes faster waits. All of it may come
            at once.
        sends_to_each: How much it says to one person or room.
        timeout: How long a handler may take; while it asks somebody, that time stands
            still.
        health_socket: Where it tells how it is, for Prometheus: a unix socket in a
            folder that is this user's alone.
        replay: Do commands also if they are old, as after a time without a network.
        max_age: What is old.

    Attributes:
        clock: The machine's; a test sets another one.
        rules: What holds for all handlers.
    """

    def __init__(  # noqa: PLR0913 - all that is set about a bot, by name
        self,
        name: str,
        *,
        trust: Trust,
        prefix: str = "!",
        roles: Mapping[str, Collection[str]] | None = None,
        pins: Mapping[str, Collection[str]] | None = None,
        texts: Texts | None = None,
        answers: str = "20/m",
        sends: str = "600/m",
        sends_to_each: str = "120/m",
        timeout: timedelta = timedelta(seconds=60),
        health_socket: Path | None = None,
        replay: bool = False,
        max_age: timedelta = timedelta(minutes=10),
    ) -> None:
        super().__init__()
        if not prefix or any(map(str.isspace, prefix)):
            raise ValueError("a prefix cannot be empty or have blanks")
        self.name = name
        self.trust = trust
        self.rules = Rules(prefix, timeout, max_age, Rate.read(answers), replay=replay)
        self.roles: Mapping[str, frozenset[JID]] = {
            role: frozenset(JID(each).bare for each in people)
            for role, people in (roles or {}).items()
        }
        self.pins: Mapping[JID, frozenset[str]] = {
            JID(jid).bare: frozenset(map(parse_fingerprint, fingerprints))
            for jid, fingerprints in (pins or {}).items()
        }
        self.texts = texts or Texts()
        self.health_socket = health_socket
        self._sends = Rate.read(sends), Rate.read(sends_to_each)
        self.clock: Clock = SystemClock()
        self._questions = Questions()
        self._provided: dict[type, object] = {}
        self._hooks = Hooks()
        self._work: Work | None = None

    @classmethod
    def from_config(cls, name: str, path: Path | None = None) -> Self:
        """Return a bot as the file with settings and the environment describe it.

        ::

            bot = Bot.from_config("alerts")

        Args:
            name: Its profile; ``[profiles.NAME]`` is its table.
            path: The file; see ``xmpp_onion.configuration``.

        Raises:
            ConfigurationError: Nobody says whose orders it takes, or a setting
                cannot be.
            StorePermissionError: Others can reach the file.
        """
        found = Configuration.load(flags={"profile": name}, path=path)
        policy = found[settings.TRUST_POLICY]
        if policy is None:
            raise ConfigurationError(
                f"nobody says whose orders the bot {name} takes",
                why="trust.policy is missing, and has no default",
                fix=f'Write into {found.path}: profiles.{name}.trust.policy = "pinned"',
            )
        return cls(
            name,
            trust=Trust(policy),
            prefix=found[settings.BOT_PREFIX],
            roles=found[settings.ROLES],
            pins=found[settings.TRUST_PINS],
            timeout=timedelta(seconds=found[settings.BOT_TIMEOUT]),
            health_socket=found[settings.BOT_HEALTH_SOCKET],
            replay=found[settings.BOT_REPLAY],
            max_age=timedelta(seconds=found[settings.BOT_MAX_AGE]),
            texts=_texts(found),
        )

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
        return self._at_work().line

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

    async def fetch(self, url: str, *, limit_bytes: int = PAGE_BYTES) -> bytes:
        """Fetch a page of an onion service through Tor; see ``Client.fetch``."""
        return await self.line.fetch(url, limit_bytes=limit_bytes)

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
        self._hooks.startup.append(hook)
        return hook

    def background(self, work: HookT) -> HookT:
        """Register what is done beside, from the start to the end of the bot.

        It gets values by type as handlers do. If it raises, the bot ends with that.
        """
        self._hooks.background.append(plan(work, reads_text=False))
        return work

    def connected(self, hook: HookT) -> HookT:
        """Register what is called each time that the connection is there, again.

        It runs beside the handlers; what it raises is in the log.
        """
        self._hooks.connected.append(hook)
        return hook

    def shutdown(self, hook: HookT) -> HookT:
        """Register what is called after the last one."""
        self._hooks.shutdown.append(hook)
        return hook

    # --- running ------------------------------------------------------------------

    def check(self) -> None:
        """Raise unless each handler gets what it wants.

        Raises:
            TypeError: Nothing provides a type; named with the handler.
        """
        always = {*self.services, Context, Message, Attachment, FSM, Room}
        plans: list[tuple[Plan, set[type]]] = [
            *((each.plan, always) for each in self.listeners),
            *((each.plan, always) for each in self.commands),
            *((each.plan, {*always, each.kind}) for each in self.error_handlers),
            *((each.plan, {*self.services, each.kind}) for each in self.watchers),
            *((each.plan, {*self.services}) for each in self.jobs),
            *((each, {*self.services}) for each in self._hooks.background),
        ]
        if self.stranger_handler is not None:
            plans.append((self.stranger_handler, {*self.services, Untrusted}))
        for each, provided in plans:
            for wanted in each.missing(provided):
                raise TypeError(
                    f"{each.name} wants a {wanted.__name__}, and nothing provides "
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
        work = self._work = Work(
            self,
            router=self,
            rules=self.rules,
            line=line,
            sends=self._sends,
            questions=self._questions,
            services=self.services,
        )
        try:
            async with self._told():
                await work.run(self._hooks)
        finally:
            self._work = None

    async def health(self) -> Health:
        """Return how it is; asks the server for an answer.

        Raises:
            RuntimeError: It does not run.
        """
        return await self._at_work().health()

    def _at_work(self) -> Work:
        if self._work is None:
            raise RuntimeError("the bot is not running")
        return self._work

    def _told(self) -> AbstractAsyncContextManager[None]:
        """Return what tells Prometheus how it is, if it is to be told."""

        async def tell() -> str:
            return exposition(await self.health())

        path = self.health_socket
        return nullcontext() if path is None else serve_health(path, tell)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something beside, for as long as the bot runs.

        Raises:
            RuntimeError: It does not run.
        """
        if self._work is None or self._work.tasks is None:
            work.close()
            raise RuntimeError("the bot is not running")
        return self._work.tasks.create_task(work)

    @property
    def program(self) -> Program:
        """What runs it."""
        return Program(
            self.name, self.trust, self.pins, frozenset(self._modules()), self.serve
        )

    def _modules(self) -> Iterator[str]:
        """Yield the packages that its handlers are of: their loggers are its own."""
        plans = [
            *(each.plan for each in self.listeners),
            *(each.plan for each in self.commands),
            *(each.plan for each in self.jobs),
        ]
        for each in plans:
            yield each.function.__module__.partition(".")[0]

    def cli(self) -> None:
        """Be a program: ``init``, ``run``, ``invite``, ``trust`` and others.

        ::

            if __name__ == "__main__":
                bot.cli()

        They are commands of ``xmpp-onion`` for this bot's profile. Ends the process.
        """
        # The one step up: the file of a bot is the program, and its commands are ours.
        from xmpp_onion.cli.own import run_own  # noqa: PLC0415 - see pyproject.toml

        run_own(self)

    def run(self, *, data_dir: Path | None = None, log: Format | None = None) -> None:
        """Log in and answer until SIGINT or SIGTERM; then end cleanly.

        Uses the Tor that the environment or the file with settings names, else a
        running one, else one of its own. A lost network is waited out. Ends the
        process with the exit codes of the command line.

        Args:
            data_dir: Where profiles live; else as the environment or the file with
                settings says, else in the user's data folder.
            log: ``text`` or ``json``, on stderr; else as they say. Nobody is named
                there, and nothing quoted (see ``xmpp_onion.logs``).
        """
        self.program.run(data_dir, log)


def _texts(found: Configuration) -> Texts | None:
    language = found[settings.BOT_LANGUAGE]
    try:
        return None if language is None else Texts.of(language)
    except ValueError as error:
        raise ConfigurationError(
            "the bot does not speak that language",
            why=str(error),
            fix="Set bot.language to another, or pass `texts` of your own.",
        ) from None
