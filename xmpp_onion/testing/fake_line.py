"""A bot's account in a world in memory, and what the bot remembers there."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from xmpp_onion.account import parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.chat import (
    Content,
    Delivery,
    Event,
    Message,
    Place,
    Progress,
    Said,
)
from xmpp_onion.e2ee import TrustLevel, accepts
from xmpp_onion.errors import TransferError
from xmpp_onion.files import PAGE_BYTES
from xmpp_onion.reader import Claim
from xmpp_onion.rooms import Room
from xmpp_onion.store import Write

__all__ = ["FakeNotes", "MemoryLine"]


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


class Around(Protocol):
    """The world around an account; see ``MemoryWorld``.

    Attributes:
        notes: What the bot keeps over a restart.
        done: Set each time that the bot is through with an event.
        pages: What ``fetch`` gets, by URL.
    """

    notes: FakeNotes
    done: asyncio.Event
    pages: dict[str, bytes]

    @property
    def jid(self) -> JID:
        """Whose account it is."""

    async def speak(self, to: JID, what: Content) -> Delivery:
        """Say something, to one person or a room."""

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Send a file."""

    def find_room(self, jid: JID) -> Room:
        """Return a room."""


class MemoryLine:
    """The bot's account there; see :class:`xmpp_onion.bot.Line`.

    Args:
        world: Where it is.
        unhandled: What happens first: what an earlier bot left.

    Attributes:
        unhandled: What happened and was not handled yet, and whether it was begun.
    """

    def __init__(
        self, world: Around, unhandled: Iterable[tuple[Event, bool]] = ()
    ) -> None:
        self._world = world
        self._claims: asyncio.Queue[Claim] = asyncio.Queue()
        self._numbers = itertools.count()
        self._unhandled: dict[int, tuple[Event, bool]] = {}
        self.notes = world.notes
        for event, is_begun in unhandled:
            self.tell(event, is_begun=is_begun)

    @property
    def jid(self) -> JID:
        """Whose it is."""
        return self._world.jid

    @property
    def unhandled(self) -> tuple[tuple[Event, bool], ...]:
        """What happened and was not handled yet, and whether it was begun."""
        return tuple(self._unhandled.values())

    def accepts(self, message: Said) -> bool:
        """Tell whether its device is accepted."""
        return accepts(TrustLevel.from_word(message.trust))

    def tell(self, event: Event, *, is_begun: bool = False) -> None:
        """Let something happen to the bot."""
        number = next(self._numbers)
        self._unhandled[number] = event, is_begun

        async def begin() -> None:
            self._unhandled[number] = event, True

        async def handled() -> None:
            self._unhandled.pop(number, None)
            self._world.done.set()

        claim = Claim(event, handled, begin, handled, is_begun=is_begun)
        self._claims.put_nowait(claim)

    async def claims(self) -> AsyncGenerator[Claim, None]:
        """Yield what happens."""
        while True:
            yield await self._claims.get()

    async def connections(self) -> AsyncIterator[None]:
        """Yield once: it is there."""
        yield
        await asyncio.Event().wait()

    @property
    def is_away(self) -> bool:
        """Whether the connection is down: it never is."""
        return False

    async def ping(self, timeout: float) -> None:
        """Ask nobody something."""

    async def queued(self) -> int:
        """Return how many stanzas wait for the server's ack."""
        return 0

    async def queue(
        self,
        to: str,
        text: str,
        *,
        expires: timedelta | None = None,
        timeout: float | None = None,
        along: Write | None = None,
    ) -> Delivery:
        """Say something."""
        parse_recipient(to)
        said = await self._world.speak(JID(to), Content(text=text, expires=expires))
        if along is not None:
            await along()
        return said

    async def send(
        self,
        to: str,
        text: str,
        *,
        reply_to: Message | str = "",
        mentions: Collection[str] = (),
    ) -> Delivery:
        """Say something, perhaps in answer to a message."""
        what = Content(
            text=text,
            reply_to=reply_to.id if isinstance(reply_to, Message) else reply_to,
            mentions=tuple(JID(each).bare for each in mentions),
        )
        return await self._world.speak(JID(to), what)

    async def fetch(self, url: str, *, limit_bytes: int = PAGE_BYTES) -> bytes:
        """Fetch a page that the test has put there.

        Raises:
            AddressError: It leads elsewhere than to an onion.
            TransferError: There is none, or it is too large.
        """
        Place.parse(url)
        page = self._world.pages.get(url)
        if page is None or len(page) > limit_bytes:
            why = "there is none" if page is None else "it is too large"
            raise TransferError(
                "the page was not fetched", why=why, fix="In a test: server.pages[url]"
            )
        return page

    async def correct(self, to: str, message_id: str, text: str) -> Delivery:
        """Say what a message should have said."""
        return await self._world.speak(JID(to), Content(text=text, corrects=message_id))

    async def react(self, to: str, message_id: str, *emojis: str) -> Delivery:
        """Say what we feel about a message."""
        what = Content(reacts_to=message_id, emojis=emojis)
        return await self._world.speak(JID(to), what)

    async def retract(self, to: str, message_id: str) -> Delivery:
        """Take a message back."""
        return await self._world.speak(JID(to), Content(retracts=message_id))

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Send a file."""
        return await self._world.send_file(to, path, progress)

    def room(self, jid: str) -> Room:
        """Return a room."""
        return self._world.find_room(JID(jid))
