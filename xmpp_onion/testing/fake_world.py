"""A world in memory: accounts, rooms, files and a clock, without a network.

What is said takes the shapes that it has in a client, and an id of its own; whether
it is encrypted on the way is the matter of a :class:`~.fake_post.Post`.
"""

import asyncio
import itertools
import secrets
import shutil
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.bot import Bot
from xmpp_onion.bot.lanes import HANDLER
from xmpp_onion.bot.line import Line
from xmpp_onion.chat import (
    Affiliation,
    Attachment,
    Content,
    Delivery,
    DeliveryState,
    Event,
    Progress,
    Said,
    Undecryptable,
    event_of,
    read_event,
    write_event,
)
from xmpp_onion.client import Client
from xmpp_onion.e2ee import TrustLevel, accepts
from xmpp_onion.errors import FileTooLargeError, RoomError
from xmpp_onion.files.names import numbered, safe_name
from xmpp_onion.rooms import Room
from xmpp_onion.testing.fake_clock import FakeClock
from xmpp_onion.testing.fake_line import FakeNotes, MemoryLine
from xmpp_onion.testing.fake_post import OmemoPost, PlainPost, Post, Read
from xmpp_onion.testing.fake_room import FakeRoom
from xmpp_onion.testing.fake_user import FakeUser

__all__ = ["ONION", "MemoryWorld"]

ONION: Final = OnionAddress.from_public_key(b"a bot's world in memory, no key.")
"""Where all of them are: a name that stands for no key."""

# Passes through the loop after which a handler that was woken has gone on.
_PASSES: Final = 25
# What a handler does outside of the loop, in a thread say, has so many seconds so many
# times: on a busy machine it is given longer, for it is we who have to wait as well.
_TICK: Final = 0.05
_TICKS: Final = 20


class MemoryWorld:
    """People, rooms and a bot's account; an async context manager.

    Args:
        bot: Whose account it has.
        folder: For files that are sent, and stores.
        now: What the clock shows first.
        is_encrypted: With keys of the real kind.

    Attributes:
        transcript: All that was said, a line each.
        jid: The bot's account.
        clock: Stands still until it is moved.
        notes: What the bot remembers.
        pages: What the bot can fetch, by URL.
        done: Set when something was handled, or said.
    """

    def __init__(
        self, bot: Bot, folder: Path, *, now: datetime | None, is_encrypted: bool
    ) -> None:
        self.jid = JID(f"{bot.name.lower()}@{ONION}")
        self.clock = FakeClock(now)
        self.notes = FakeNotes()
        self.transcript: list[str] = []
        self._bot = bot
        self._folder = folder
        self._users: dict[JID, FakeUser] = {}
        self._rooms: dict[JID, FakeRoom] = {}
        self._files: dict[str, Path] = {}
        self.done = asyncio.Event()
        self.pages: dict[str, bytes] = {}
        self._ids = itertools.count(1)
        self._post: Post = (
            OmemoPost(self.jid, bot.trust, self._trust_in, folder)
            if is_encrypted
            else PlainPost(self.jid, bot.trust, self._trust_in)
        )
        self._line = MemoryLine(self)
        self._speaking = 0

    async def __aenter__(self) -> Self:
        await self._post.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._post.__aexit__(kind, error, trace)

    # --- for the one who tests ------------------------------------------------------

    @property
    def fake_clock(self) -> FakeClock:
        """What shows the time."""
        return self.clock

    async def enrol(self, name: str) -> Client:
        """Refuse: nobody has one."""
        raise RuntimeError(f"{name} can have no client: that takes server='prosody'")

    def connect(self, bot: Bot) -> AbstractAsyncContextManager[Line]:
        """Return the account, for as long as a bot runs."""
        self._bot = bot
        self._line = MemoryLine(self, self._line.unhandled)
        return nullcontext(self._line)

    def user(self, jid: JID, trust: TrustLevel = TrustLevel.TRUSTED) -> FakeUser:
        """Return somebody; asked for twice it is the same person."""
        if jid not in self._users:
            self._users[jid] = FakeUser(self, jid, trust)
        return self._users[jid]

    def room(self, jid: JID, affiliations: Mapping[JID, Affiliation]) -> Room:
        """Return a room; asked for twice it is the same."""
        if jid not in self._rooms:
            self._rooms[jid] = FakeRoom(self, jid, dict(affiliations))
        return self._rooms[jid]

    async def tell(self, event: Event) -> None:
        """Let an event happen to the bot, and wait for what it does."""
        self._line.tell(event)
        await self.settle()

    async def advance(self, time: timedelta) -> None:
        """Let time pass."""
        until = self.clock.monotonic() + time.total_seconds()
        await self.settle()
        while self.clock.step(until):
            await self.settle()
        await self.settle()

    def pass_time(self, time: timedelta) -> None:
        """Let time pass while the bot is down."""
        until = self.clock.monotonic() + time.total_seconds()
        while self.clock.step(until):
            pass

    async def settle(self) -> None:
        """Return when the bot has done what it can do without more time or words."""
        ticks = 0
        while ticks < _TICKS:
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            if not self._speaking and len(self._line.unhandled) <= self._idle():
                return
            self.done.clear()
            try:
                async with asyncio.timeout(_TICK):
                    await self.done.wait()
                ticks = 0
            except TimeoutError:
                # What is being encrypted ends by itself, however busy the machine is.
                ticks += not self._speaking

    def _idle(self) -> int:
        """Return how many handlers wait for what will not come by itself."""
        return self._bot.open_questions + self.clock.sleeping(HANDLER)

    # --- for those who live here ----------------------------------------------------

    async def say(
        self, user: FakeUser, to: JID | None, what: Content, age: timedelta
    ) -> str:
        """Let somebody say something; see ``Voice``."""
        message_id = self.next_id()
        place = self.jid if to is None else to
        if to is not None and not self._is_in(user.jid, to):
            raise RoomError(f"{user!r} is no member of {to.local}")
        if to is not None and not self._is_in(self.jid, to):
            return message_id
        carried = await self._post.carry(user.jid, place, [self.jid], what)
        for read in carried.reads.values():
            head = Head(message_id, user.jid, to, self.clock.now() - age)
            event = self._event(head, self.jid, read)
            if event is not None:
                await self.tell(event)
        return message_id

    async def say_file(self, user: FakeUser, to: JID | None, path: Path) -> str:
        """Let somebody send a file; see ``Voice``."""
        return await self.say(user, to, self.offer(path), timedelta())

    async def say_plain(self, user: FakeUser, to: JID | None) -> str:
        """Let somebody say something in the clear: a client reads nothing of it."""
        message_id = self.next_id()
        event = Undecryptable(
            id=message_id,
            sender=to or user.jid,
            reason="it was sent without encryption",
            at=self.clock.now(),
            room=to,
            plaintext=True,
        )
        await self.tell(event)
        return message_id

    def offer(self, path: Path) -> Content:
        """Keep a file as a server would; return what is said of it."""
        name = f"{len(self._files)}-{safe_name(path.name)}"
        copy = self._folder / "stored" / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
        key = secrets.token_hex(44)
        url = f"aesgcm://{ONION}/{len(self._files)}/{quote(path.name)}#{key}"
        self._files[url] = copy
        size = copy.stat().st_size
        return Content(
            text=url, attachment=Attachment(url=url, name=path.name, size=size)
        )

    async def fetch(
        self,
        attachment: Attachment,
        folder: Path,
        progress: Progress | None,
        limit_bytes: int,
        *,
        expires_at: datetime | None = None,
    ) -> Path:
        """Copy a file to where somebody wants it, as ``Attachment.save()`` does."""
        source = self._files[attachment.url]
        size = source.stat().st_size
        if size > limit_bytes:
            raise FileTooLargeError("the file was not fetched", why="it is too large")
        name = safe_name(attachment.name)
        free = (folder / numbered(name, number) for number in itertools.count(1))
        target = next(path for path in free if not path.exists())
        shutil.copyfile(source, target)
        if progress is not None:
            progress(0, size)
            progress(size, size)
        return target

    async def save(self, attachment: Attachment) -> Path:
        """Fetch a file that the bot sent; see ``Voice``."""
        folder = self._folder / "saved"
        folder.mkdir(exist_ok=True)
        return await attachment.save(folder)

    async def speak(self, to: JID, what: Content) -> Delivery:
        """Let the bot say something, to one person or a room."""
        self._speaking += 1
        try:
            return await self._speak(to, what)
        finally:
            self._speaking -= 1
            self.done.set()

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Let the bot send a file."""
        content = await asyncio.to_thread(self.offer, Path(path))
        attachment = content.attachment
        if progress is not None and attachment is not None:
            size = attachment.size or 0
            progress(0, size)
            progress(size, size)
        return await self.speak(JID(to), content)

    async def _speak(self, to: JID, what: Content) -> Delivery:
        message_id = self.next_id()
        readers = self._readers(to)
        carried = await self._post.carry(self.jid, to, readers, what)
        room = to if to in self._rooms else None
        for jid, read in carried.reads.items():
            head = Head(message_id, self.jid, room, self.clock.now())
            if (event := self._event(head, jid, read)) is not None:
                await self._users[jid].take(event)
        return Delivery(
            id=message_id,
            to=to,
            devices=len(carried.reads),
            skipped=carried.skipped,
            state=DeliveryState.ACKED,
        )

    def next_id(self) -> str:
        """Return an id for what somebody says."""
        return f"fake-{next(self._ids)}"

    def find_room(self, jid: JID) -> FakeRoom:
        """Return a room that the bot knows.

        Raises:
            RoomError: There is none.
        """
        if jid not in self._rooms:
            raise RoomError(
                f"there is no room {jid.local}",
                fix=f"In a test: server.room({jid.local!r})",
            )
        return self._rooms[jid]

    def _readers(self, to: JID) -> list[JID]:
        if to.bare not in self._rooms:
            return [self.user(to.bare).jid]
        if not self._is_in(self.jid, to.bare):
            raise RoomError("nothing was sent", why="we are not in this room any more")
        members = self._rooms[to.bare].state.members
        return [self.user(jid).jid for jid in members if jid != self.jid]

    def _is_in(self, jid: JID, room: JID) -> bool:
        return jid in self.find_room(room).state.members

    def _trust_in(self, jid: JID) -> TrustLevel:
        return self._users[jid].trust

    def _event(self, head: "Head", reader: JID, read: Read | str) -> Event | None:
        """Return what a client would yield, with what answers and fetches."""
        if isinstance(read, str):
            return Undecryptable(
                id=head.id,
                sender=head.sender,
                reason=read,
                at=head.at,
                room=head.room,
            )
        said = Said(
            id=head.id,
            sender=head.sender,
            to=head.room or reader,
            room=head.room,
            namespace=read.namespace,
            device=read.device,
            fingerprint=read.fingerprint,
            trust=read.trust.word,
            at=head.at,
        )
        is_accepted = accepts(read.trust)
        event = event_of(
            said, read.content, is_own=False, is_accepted=is_accepted, own=reader
        )
        if event is None:
            return None
        return read_event(write_event(event), self._line.send, self.fetch)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands on a message.

    Attributes:
        id: Its name.
        sender: Who said it.
        room: Where; None for one person's.
        at: When, in UTC.
    """

    id: str
    sender: JID
    room: JID | None
    at: datetime
