"""Context: one message, and all that a handler may do about it."""

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from xmpp_onion.address import JID
from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.conversation import FSM
from xmpp_onion.bot.lanes import Turn
from xmpp_onion.bot.line import Line
from xmpp_onion.bot.memory import Memory
from xmpp_onion.bot.progress import Reporter, Spawn
from xmpp_onion.bot.stream import tell_stream
from xmpp_onion.bot.texts import Texts
from xmpp_onion.chat import Affiliation, Delivery, Message, Progress
from xmpp_onion.files import PAGE_BYTES
from xmpp_onion.rooms import Room

__all__ = ["Context", "Host"]

T = TypeVar("T")


class Host(Protocol):
    """The bot, as a handler sees it.

    Attributes:
        name: The profile whose account it uses.
        texts: What it says by itself.
        clock: Says how late it is; a test has its own.
    """

    name: str
    texts: Texts
    clock: Clock

    @property
    def roles(self) -> Mapping[str, frozenset[JID]]:
        """Who has which role."""

    @property
    def state(self) -> Memory:
        """What it remembers over a restart."""

    @property
    def spawn(self) -> Spawn:
        """Runs something beside."""

    async def send(self, to: str, text: str) -> Delivery:
        """Encrypt, and return when it is on the disk."""

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Encrypt and store a file, and send its link."""

    async def ask(
        self,
        ctx: "Context",
        question: str,
        kind: Callable[[str], T] | type[T] | None,
        timeout: str | timedelta,
    ) -> T | str:
        """Ask the sender of a message; see ``Context.ask``."""


@dataclass(slots=True)
class Context:
    """What a message came with; handlers get it by its type.

    Attributes:
        bot: Whom it was said to.
        line: The bot's account.
        message: What was said.
        fsm: The conversation with its sender in this place.
        command: The name of the command, if it is one.
        found: What the last ``regex`` filter found.
        deadline: When the handler's time is over.
        turn: That the handler is one of those that work at once.
        failure_id: Set when a handler raised: what the log calls it.
    """

    bot: Host
    line: Line
    message: Message
    fsm: FSM
    command: str = ""
    found: re.Match[str] | None = field(default=None, repr=False)
    failure_id: str = ""
    deadline: asyncio.Timeout | None = field(default=None, repr=False)
    turn: Turn | None = field(default=None, repr=False)

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Let another handler work, and the time of this one stand still.

        It waits for a person; at the end for its turn again, and no longer than that
        does its time stand still.
        """
        async with AsyncExitStack() as stack:
            deadline = self.deadline
            until = None if deadline is None else deadline.when()
            if deadline is not None and until is not None:
                left = until - asyncio.get_running_loop().time()
                deadline.reschedule(None)
                stack.callback(_go_on, deadline, left)
            if self.turn is not None:
                await stack.enter_async_context(self.turn.aside())
            yield

    @property
    def sender(self) -> JID:
        """The account that wrote, without a resource; its device is accepted."""
        return self.message.sender.bare

    @property
    def place(self) -> JID:
        """Where an answer goes: the room, or the sender."""
        return self.message.room or self.sender

    @property
    def room(self) -> Room | None:
        """The room where it was said."""
        return None if self.message.room is None else self.line.room(self.message.room)

    @property
    def affiliation(self) -> Affiliation:
        """What the sender is to the room where it was said; ``NONE`` elsewhere."""
        room = self.room
        state = None if room is None else room.state
        if state is None:
            return Affiliation.NONE
        return state.members.get(self.sender, Affiliation.NONE)

    def has_role(self, name: str) -> bool:
        """Tell whether the sender has a role of the bot."""
        return self.sender in self.bot.roles.get(name, frozenset())

    async def reply(self, text: str) -> Delivery:
        """Send ``text``, encrypted, to the same place; it waits if the network does.

        Raises:
            EncryptionError: It cannot be encrypted; nothing was sent.
        """
        return await self.line.queue(self.place, text, timeout=None)

    async def react(self, *emojis: str) -> Delivery:
        """React to the message; no emoji takes it back."""
        return await self.line.react(self.place, self.message.id, *emojis)

    async def send_file(self, path: Path, progress: Progress | None = None) -> Delivery:
        """Send a file to the same place; see ``Client.send_file``."""
        return await self.line.send_file(self.place, path, progress)

    async def stream(self, pieces: AsyncIterable[str]) -> Delivery | None:
        """Answer with what comes piece by piece, in one message that is edited.

        An edit goes out every two seconds at most, later every thirty, and one at
        the end: each has all of the text. None if nothing came.

        ::

            await ctx.stream(model.answer(ctx.message.text))
        """
        return await tell_stream(self.line, self.place, pieces, self.bot.clock)

    async def fetch(self, url: str, *, limit_bytes: int = PAGE_BYTES) -> bytes:
        """Fetch a page of an onion service through Tor; see ``Client.fetch``."""
        return await self.line.fetch(url, limit_bytes=limit_bytes)

    async def ask(
        self,
        question: str,
        kind: Callable[[str], T] | type[T] | None = None,
        *,
        timeout: str | timedelta = "5m",
    ) -> T | str:
        """Ask the sender, and return what is answered in the same place.

        Lives in memory: a restart ends it. For what has to live longer use ``FSM``.

        Args:
            question: What to ask.
            kind: What the answer has to be: a type as of an argument, or what reads
                it. An answer that it refuses is asked for again, three times in all.
            timeout: How long to wait.

        Raises:
            TimeoutError: Nothing was answered in time.
            UsageError: The answers were not what they had to be.
            CrowdedError: A thousand questions are open already.
        """
        return await self.bot.ask(self, question, kind, timeout)

    def progress(self, name: str) -> Reporter:
        """Return what tells how far a file is, in one message that is edited.

        ::

            await ctx.send_file(path, progress=ctx.progress(path.name))
        """
        bot = self.bot
        return Reporter(self.line, self.place, name, clock=bot.clock, spawn=bot.spawn)


def _go_on(deadline: asyncio.Timeout, left: float) -> None:
    if not deadline.expired():
        deadline.reschedule(asyncio.get_running_loop().time() + left)
