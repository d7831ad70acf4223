"""A bot's client in a test that wants to know when the bot is done."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from xmpp_onion.address import JID
from xmpp_onion.bot.memory import Notebook
from xmpp_onion.chat import Delivery, Message, Progress, Said, Undecryptable
from xmpp_onion.client import Client
from xmpp_onion.files import PAGE_BYTES
from xmpp_onion.reader import Claim
from xmpp_onion.rooms import Room
from xmpp_onion.store import Write

__all__ = ["Observed"]


class Observed:
    """A client as a bot's line, which notes what comes and goes.

    What a handler says through a ``Room``, or in ``Message.reply()``, goes beside it:
    who reads it has it soon, and nobody waits for that.

    Args:
        client: The bot's.
        news: Set whenever there is something to note.

    Attributes:
        client: The same.
        heard: The ids of what came to the bot.
        said: To whom the bot said what, by its id.
        unhandled: How much of what came is being handled.
        speaking: How much is being said at the moment.
    """

    def __init__(self, client: Client, news: asyncio.Event) -> None:
        self.client = client
        self.heard: set[str] = set()
        self.said: set[tuple[JID, str]] = set()
        self.unhandled = 0
        self.speaking = 0
        self._news = news

    @property
    def jid(self) -> JID:
        """Whose it is."""
        return self.client.jid

    @property
    def notes(self) -> Notebook:
        """What is to be known after a restart."""
        return self.client.notes

    def accepts(self, message: Said) -> bool:
        """Tell whether the policy accepts the device that it came from."""
        return self.client.accepts(message)

    async def claims(self) -> AsyncGenerator[Claim, None]:
        """Yield what happens."""
        async with aclosing(self.client.claims()) as claims:
            async for claim in claims:
                yield self._noted(claim)

    def _noted(self, claim: Claim) -> Claim:
        left = [claim]

        def note() -> None:
            self.unhandled -= len(left)
            left.clear()
            self._news.set()

        async def handled() -> None:
            await claim.handled()
            note()

        async def settle() -> None:
            await claim.settle()
            note()

        self.unhandled += 1
        if isinstance(claim.event, Said | Undecryptable):
            self.heard.add(claim.event.id)
        self._news.set()
        return Claim(claim.event, handled, claim.begin, settle, is_begun=claim.is_begun)

    def connections(self) -> AsyncIterator[None]:
        """Yield each time that it is there, again."""
        return self.client.connections()

    @property
    def is_away(self) -> bool:
        """Whether the connection is down."""
        return self.client.is_away

    async def ping(self, timeout: float) -> None:
        """Ask the server something."""
        await self.client.ping(timeout)

    async def queued(self) -> int:
        """Return how many stanzas wait for the server's ack."""
        return await self.client.queued()

    async def queue(
        self,
        to: str,
        text: str,
        *,
        expires: timedelta | None = None,
        timeout: float | None = None,
        along: Write | None = None,
    ) -> Delivery:
        """See ``Client.queue``."""
        async with self._speaking():
            return self._note(
                await self.client.queue(
                    to, text, expires=expires, timeout=timeout, along=along
                )
            )

    async def send(
        self, to: str, text: str, *, reply_to: Message | str = ""
    ) -> Delivery:
        """See ``Client.send``."""
        async with self._speaking():
            return self._note(await self.client.send(to, text, reply_to=reply_to))

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """See ``Client.send_file``."""
        async with self._speaking():
            return self._note(await self.client.send_file(to, path, progress))

    async def fetch(self, url: str, *, limit_bytes: int = PAGE_BYTES) -> bytes:
        """See ``Client.fetch``."""
        return await self.client.fetch(url, limit_bytes=limit_bytes)

    async def correct(self, to: str, message_id: str, text: str) -> Delivery:
        """See ``Client.correct``."""
        async with self._speaking():
            return self._note(await self.client.correct(to, message_id, text))

    async def react(self, to: str, message_id: str, *emojis: str) -> Delivery:
        """See ``Client.react``."""
        async with self._speaking():
            return self._note(await self.client.react(to, message_id, *emojis))

    async def retract(self, to: str, message_id: str) -> Delivery:
        """See ``Client.retract``."""
        async with self._speaking():
            return self._note(await self.client.retract(to, message_id))

    def room(self, jid: str) -> Room:
        """Return a room."""
        return self.client.room(jid)

    @asynccontextmanager
    async def _speaking(self) -> AsyncIterator[None]:
        self.speaking += 1
        try:
            yield
        finally:
            self.speaking -= 1
            self._news.set()

    def _note(self, delivery: Delivery) -> Delivery:
        """Note who is to get something."""
        state = self.client.rooms.state(delivery.to)
        readers = {delivery.to} if state is None else set(state.members)
        skipped = {word.partition(" ")[0] for word in delivery.skipped}
        for jid in readers - {self.jid}:
            if jid not in skipped:
                self.said.add((jid, delivery.id))
        return delivery
