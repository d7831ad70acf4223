"""A bot's world in memory: people who write to it, rooms, files and a clock.

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
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.bot import Bot
from xmpp_onion.bot.durations import read_duration
from xmpp_onion.chat import (
    Affiliation,
    Attachment,
    Delivery,
    DeliveryState,
    Event,
    Message,
    Progress,
    RoomState,
    Said,
)
from xmpp_onion.e2ee import TrustLevel, accepts
from xmpp_onion.reader import Claim
from xmpp_onion.rooms import Room
from xmpp_onion.testing.fake_clock import FakeClock

__all__ = ["FakeNotes", "FakeRoom", "FakeServer", "FakeUser"]

ONION: Final = OnionAddress.from_public_key(b"a bot's world in memory, no key.")
"""Where all of them are: a name that stands for no key."""

_NAMESPACE: Final = "urn:xmpp:omemo:2"
# Passes through the loop after which a handler that was woken has gone on.
_PASSES: Final = 25
# Seconds for a handler that does something outside of the loop.
_PATIENCE: Final = 1.0


class FakeServer:
    """Runs a bot among people who are made up; an async context manager.

    Args:
        bot: It gets the clock of this server while the block runs.
        now: What the clock shows first.
        after: Another such server: the bot was restarted, and knows what it knew.

    Attributes:
        clock: Stands still but for :meth:`advance`.
        notes: What the bot remembers.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        now: datetime | None = None,
        after: "FakeServer | None" = None,
    ) -> None:
        self.bot = bot
        self.notes: FakeNotes = FakeNotes() if after is None else after.notes
        self.clock = FakeClock(now)
        self.jid = JID(f"{bot.name.lower()}@{ONION}")
        self._line = _Line(self)
        self._users: dict[JID, FakeUser] = {}
        self._rooms: dict[JID, FakeRoom] = {}
        self._ids = itertools.count(1)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            clock, self.bot.clock = self.bot.clock, self.clock
            stack.callback(setattr, self.bot, "clock", clock)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            serving = tasks.create_task(self.bot.serve(self._line))
            stack.callback(serving.cancel)
            await self.settle()
            if serving.done():  # what is wrong with the bot shows here
                await serving
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def user(self, name: str, *, trust: TrustLevel = TrustLevel.TRUSTED) -> "FakeUser":
        """Return somebody; asked for twice it is the same person.

        Args:
            name: The part before the ``@``, or a whole JID.
            trust: What was decided about the device that he writes from.
        """
        jid = JID(name if "@" in name else f"{name}@{ONION}")
        if jid not in self._users:
            self._users[jid] = FakeUser(self, jid, trust)
        return self._users[jid]

    def room(
        self,
        name: str,
        members: Mapping["FakeUser", Affiliation] | None = None,
        *,
        bot: Affiliation = Affiliation.MEMBER,
    ) -> "FakeRoom":
        """Return a room in which the bot is, with these members.

        Args:
            name: The part before the ``@``.
            members: Who else is one, and as what.
            bot: What the bot is there.
        """
        jid = JID(f"{name}@muc.{ONION}")
        if jid not in self._rooms:
            affiliations = {self.jid: bot}
            affiliations |= {user.jid: what for user, what in (members or {}).items()}
            self._rooms[jid] = FakeRoom(self, jid, affiliations)
        return self._rooms[jid]

    async def tell(self, event: Event) -> None:
        """Let an event happen to the bot, and wait for what it does."""
        self._line.tell(event)
        await self.settle()

    async def advance(self, time: str | timedelta) -> None:
        """Let time pass: jobs are done, rates refilled, questions given up.

        Args:
            time: How much, such as ``10m``.
        """
        passed = read_duration(time) if isinstance(time, str) else time
        until = self.clock.monotonic() + passed.total_seconds()
        await self.settle()
        while self.clock.step(until):
            await self.settle()
        await self.settle()

    async def settle(self) -> None:
        """Return when the bot has done what it can do without more time or words."""
        await self._line.settled()

    # --- for those who live here ---------------------------------------------------

    def next_id(self) -> str:
        """Return an id for what somebody says."""
        return f"fake-{next(self._ids)}"

    def members_of(self, room: JID) -> "list[FakeUser]":
        """Return who reads what is said in a room."""
        return [
            user
            for user in self._users.values()
            if self._rooms[room].affiliations.get(user.jid, Affiliation.NONE).is_member
        ]

    def find_room(self, jid: JID) -> "FakeRoom":
        """Return a room of this server.

        Raises:
            KeyError: There is none.
        """
        return self._rooms[jid]

    def readers(self, to: JID) -> "list[FakeUser]":
        """Return who gets what is sent to an address."""
        if to in self._rooms:
            return self.members_of(to)
        return [self.user(to)]


class FakeUser:
    """Somebody who writes to the bot, and gets what it says.

    Attributes:
        jid: Who it is.
        trust: What was decided about the device that he writes from.
        inbox: What the bot said to him, or in a room of his, as it stands now.
        files: What files it sent.
        reactions: What it felt, by the id of the message.
    """

    def __init__(self, server: FakeServer, jid: JID, trust: TrustLevel) -> None:
        self._server = server
        self._ids: list[str] = []
        self.jid = jid
        self.trust = trust
        self.inbox: list[str] = []
        self.files: list[Path] = []
        self.reactions: dict[str, tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"<FakeUser {self.jid.local}>"

    @property
    def last(self) -> str:
        """What the bot said last; empty if it never did."""
        return self.inbox[-1] if self.inbox else ""

    async def send(
        self,
        text: str,
        *,
        room: "FakeRoom | None" = None,
        file: Attachment | None = None,
        mentions: Collection[JID] = (),
        age: str | timedelta = timedelta(),
    ) -> str:
        """Say something to the bot, and wait for what it does.

        Args:
            text: What to say.
            room: Where; to the bot alone by default.
            file: What comes with it.
            mentions: The accounts that it speaks of or to.
            age: How long it was on its way, such as ``1h``.

        Returns:
            The id of the message.
        """
        old = read_duration(age) if isinstance(age, str) else age
        message = Message(
            id=self._server.next_id(),
            sender=self.jid,
            to=self._server.jid if room is None else room.jid,
            room=None if room is None else room.jid,
            namespace=_NAMESPACE,
            device=1,
            fingerprint=self.jid.encode().hex().ljust(64, "0")[:64],
            trust=self.trust.word,
            at=self._server.clock.now() - old,
            text=text,
            attachment=file,
            mentions=tuple(mentions),
            mentions_me=self._server.jid in mentions,
        )
        await self._server.tell(message)
        return message.id

    def take(self, message_id: str, text: str) -> None:
        """Get what the bot says; the same id once more corrects it."""
        if message_id in self._ids:
            self.inbox[self._ids.index(message_id)] = text
        else:
            self._ids.append(message_id)
            self.inbox.append(text)


class FakeRoom(Room):
    """A room with members and nothing else.

    Attributes:
        affiliations: What each account is to it.
        subject: What it is about.
    """

    def __init__(
        self, server: FakeServer, jid: JID, affiliations: dict[JID, Affiliation]
    ) -> None:
        self.jid = jid
        self.affiliations = affiliations
        self.subject = ""
        self._server = server

    @property
    def state(self) -> RoomState:
        """The room as it is now."""
        members = {
            jid: what for jid, what in self.affiliations.items() if what.is_member
        }
        return RoomState(
            jid=self.jid, nick="bot", is_joined=True, is_private=True, members=members
        )

    async def send(
        self,
        text: str,
        *,
        mentions: Collection[str] = (),
        expires: timedelta | None = None,
    ) -> Delivery:
        """Say something to all members."""
        return await self._server.bot.send(self.jid, text)

    async def members(self, *, timeout: float = 0) -> dict[JID, Affiliation]:
        """Return owners, admins and members."""
        return dict(self.state.members)

    async def invite(
        self, *people: str, through_room: bool = False, timeout: float = 0
    ) -> None:
        """Make people members."""
        for each in people:
            self.affiliations[JID(each).bare] = Affiliation.MEMBER

    async def grant(
        self, person: str, affiliation: Affiliation, *, timeout: float = 0
    ) -> None:
        """Make an account something else to the room."""
        self.affiliations[JID(person).bare] = affiliation

    async def set_subject(
        self, subject: str, *, allow_clear: bool = False, timeout: float = 0
    ) -> None:
        """Say what it is about."""
        self.subject = subject


class FakeNotes:
    """What a bot remembers, in memory."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        """Return the text of a key; None if there is none."""
        return self._texts.get(key)

    async def store(self, key: str, text: str | None) -> None:
        """Set the text of a key; None takes it away."""
        if text is None:
            self._texts.pop(key, None)
        else:
            self._texts[key] = text

    async def keys(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with ``prefix``, in their order."""
        return sorted(key for key in self._texts if key.startswith(prefix))


class _Line:
    """The bot's account here."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._unhandled = 0
        self._done = asyncio.Event()
        self.notes = server.notes

    @property
    def jid(self) -> JID:
        return self._server.jid

    def accepts(self, message: Said) -> bool:
        return accepts(TrustLevel.from_word(message.trust))

    def tell(self, event: Event) -> None:
        self._unhandled += 1
        self._events.put_nowait(event)

    async def settled(self) -> None:
        """Wait until the bot waits, or is not quick to end what it does."""
        for _ in range(_PASSES):
            await asyncio.sleep(0)
        # What is handled in a thread, say, needs real time; what waits for somebody's
        # answer, or sleeps by the clock, would wait for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while self._unhandled > self._server.bot.open_questions:
                    self._done.clear()
                    await self._done.wait()

    async def claims(self) -> AsyncGenerator[Claim, None]:
        while True:
            event = await self._events.get()
            yield Claim(event, self._handled)

    async def _handled(self) -> None:
        self._unhandled -= 1
        self._done.set()

    async def queue(
        self,
        to: str,
        text: str,
        *,
        expires: timedelta | None = None,
        timeout: float | None = None,
    ) -> Delivery:
        return self._say(JID(to), self._server.next_id(), text)

    async def send(
        self, to: str, text: str, *, reply_to: Message | str = ""
    ) -> Delivery:
        return self._say(JID(to), self._server.next_id(), text)

    async def correct(self, to: str, message_id: str, text: str) -> Delivery:
        return self._say(JID(to), message_id, text)

    async def react(self, to: str, message_id: str, *emojis: str) -> Delivery:
        for user in self._server.readers(JID(to)):
            user.reactions[message_id] = emojis
        return self._delivery(JID(to), self._server.next_id())

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        size = await asyncio.to_thread(lambda: Path(path).stat().st_size)
        for user in self._server.readers(JID(to)):
            user.files.append(Path(path))
        if progress is not None:
            progress(0, size)
            progress(size, size)
        return self._delivery(JID(to), self._server.next_id())

    def room(self, jid: str) -> Room:
        return self._server.find_room(JID(jid))

    def _say(self, to: JID, message_id: str, text: str) -> Delivery:
        for user in self._server.readers(to):
            user.take(message_id, text)
        return self._delivery(to, message_id)

    def _delivery(self, to: JID, message_id: str) -> Delivery:
        return Delivery(
            id=message_id, to=to, devices=1, skipped=(), state=DeliveryState.ACKED
        )
