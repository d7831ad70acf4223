"""A bot's world for its tests: people who write to it, rooms, files and a clock.

No socket, no Tor, no keys: what a bot does with what it is told. Trust is a value
here, so that it can be tested who is heard::

    async def test_echo() -> None:
        async with FakeServer(bot) as server:
            alice = server.user("alice")
            mallory = server.user("mallory", trust=TrustLevel.UNDECIDED)
            await alice.send("hi")
            await mallory.send("hi")
            assert alice.last == "hi"
            assert mallory.inbox == []

With ``crypto="real"`` each of them has keys and a store, and what is said is encrypted
and decrypted with OMEMO; with ``server="prosody"`` all of them are clients of a real
server on this machine, and the bot runs as it would anywhere.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from xmpp_onion.address import JID
from xmpp_onion.bot import Bot
from xmpp_onion.chat import Affiliation, Event
from xmpp_onion.client import Client
from xmpp_onion.durations import read_duration
from xmpp_onion.e2ee import TrustLevel
from xmpp_onion.rooms import Room
from xmpp_onion.testing.fake_clock import FakeClock
from xmpp_onion.testing.fake_user import FakeUser
from xmpp_onion.testing.fake_world import MemoryWorld
from xmpp_onion.testing.prosody_world import ProsodyWorld

__all__ = ["FakeServer"]


class FakeServer:
    """Runs a bot among people who are made up; an async context manager.

    Args:
        bot: It gets the clock of this server while the block runs.
        crypto: ``real`` for keys, and OMEMO between all of them.
        server: ``prosody`` for a real server on loopback, with real clients: no clock
            is moved there, nothing is older than it is, and whatever is asked for that
            cannot be done is refused.
        now: What the clock shows first.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        crypto: Literal["none", "real"] = "none",
        server: Literal["memory", "prosody"] = "memory",
        now: datetime | None = None,
    ) -> None:
        if crypto not in {"none", "real"}:
            raise ValueError(f"crypto is none or real, not {crypto!a}")
        if server not in {"memory", "prosody"}:
            raise ValueError(f"server is memory or prosody, not {server!a}")
        if server == "prosody" and now is not None:
            raise ValueError("the clock of a real server shows what it shows")
        self.bot = bot
        self._folder = tempfile.TemporaryDirectory(
            prefix="xmpp-onion-bot-", ignore_cleanup_errors=True
        )
        folder = Path(self._folder.name)
        self._world: MemoryWorld | ProsodyWorld = (
            ProsodyWorld(bot, folder)
            if server == "prosody"
            else MemoryWorld(bot, folder, now=now, is_encrypted=crypto == "real")
        )
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(self._folder)
            await stack.enter_async_context(self._world)
            await self._start(self.bot)
            stack.push_async_callback(self._stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._stack.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # What a test asserts is told as it is, not within the groups of tasks.
            if error is None or group.split(lambda one: one is error)[1] is not None:
                raise

    async def _start(self, bot: Bot) -> None:
        async with AsyncExitStack() as stack:
            clock, bot.clock = bot.clock, self._world.clock
            stack.callback(setattr, bot, "clock", clock)
            line = await stack.enter_async_context(self._world.connect(bot))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            serving = tasks.create_task(bot.serve(line))
            stack.callback(serving.cancel)
            await self.settle()
            if serving.done():  # what is wrong with the bot shows here
                await serving
            self.bot, self._running = bot, stack.pop_all()

    async def _stop(self) -> None:
        await self._running.aclose()

    async def restart(
        self, bot: Bot | None = None, *, away: str | timedelta = timedelta()
    ) -> None:
        """End the bot and start it again: it knows what it kept.

        Args:
            bot: Start this one, as another process would have it.
            away: How much time passes while it is down, such as ``8h``.
        """
        await self._stop()
        self._world.pass_time(_duration(away))
        await self._start(bot or self.bot)

    @property
    def jid(self) -> JID:
        """The bot's account."""
        return self._world.jid

    @property
    def transcript(self) -> tuple[str, ...]:
        """All that was said so far, a line each."""
        return tuple(self._world.transcript)

    @property
    def clock(self) -> FakeClock:
        """What stands still but for :meth:`advance`.

        Raises:
            RuntimeError: A real server has none.
        """
        return self._world.fake_clock

    @property
    def pages(self) -> dict[str, bytes]:
        """What the bot can fetch of onion services, by URL; put it there.

        Raises:
            RuntimeError: A real server has none.
        """
        return self._world.pages

    async def enrol(self, name: str) -> Client:
        """Return a client of a new account, to be entered: a program under test.

        Raises:
            RuntimeError: There are no clients in memory.
        """
        return await self._world.enrol(name)

    def user(self, name: str, *, trust: TrustLevel = TrustLevel.TRUSTED) -> FakeUser:
        """Return somebody; asked for twice it is the same person.

        Args:
            name: The part before the ``@``, or a whole JID.
            trust: What was decided about the device that he writes from.
        """
        jid = JID(name if "@" in name else f"{name}@{self.jid.domain}")
        return self._world.user(jid, trust)

    def room(
        self,
        name: str,
        members: Mapping[FakeUser, Affiliation] | None = None,
        *,
        bot: Affiliation = Affiliation.MEMBER,
    ) -> Room:
        """Return a room in which the bot is, with these members.

        Args:
            name: The part before the ``@``.
            members: Who else is one, and as what.
            bot: What the bot is there.
        """
        affiliations = {self.jid: bot}
        affiliations |= {user.jid: what for user, what in (members or {}).items()}
        return self._world.room(JID(f"{name}@muc.{self.jid.domain}"), affiliations)

    async def tell(self, event: Event) -> None:
        """Let an event happen to the bot, and wait for what it does."""
        await self._world.tell(event)

    async def advance(self, time: str | timedelta) -> None:
        """Let time pass: jobs are done, rates refilled, questions given up.

        Args:
            time: How much, such as ``10m``.
        """
        await self._world.advance(_duration(time))

    async def settle(self) -> None:
        """Return when the bot has done what it can do without more time or words."""
        await self._world.settle()


def _duration(time: str | timedelta) -> timedelta:
    return read_duration(time) if isinstance(time, str) else time
