"""Hands out what the inbox keeps, one event at a time, until it was handled."""

import asyncio
import functools
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from xmpp_onion.chat import Answer, Event, Fetch, Said, read_event
from xmpp_onion.courier import Courier
from xmpp_onion.e2ee import Omemo
from xmpp_onion.store import Database, Inbox, InboxRow, Write, reading
from xmpp_onion.store.connection import to_the_end
from xmpp_onion.timers import is_over

__all__ = ["Claim", "InboxReader"]

# Events that are read from the disk at once: memory stays flat, however many wait.
_AT_ONCE = 100
# Seconds without news until what was handled is wiped from the log of the store:
# in a busy time that would cost a sync for each message.
_WIPE_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that happened, taken out to be handled.

    It is handed out again after a restart unless it was forgotten.

    Attributes:
        event: What happened.
        settle: Forgets it inside a transaction of its caller's: with what is kept
            there, or not at all.
        is_begun: Whether :meth:`begin` was called for it before a restart.
    """

    event: Event
    _done: Write = field(repr=False, compare=False)
    _begin: Write = field(repr=False, compare=False)
    settle: Write = field(repr=False, compare=False)
    is_begun: bool = False

    async def begin(self) -> None:
        """Note on the disk that what cannot be done twice is done now."""
        await self._begin()

    async def handled(self) -> None:
        """Forget it: it was handled, whoever is cancelled meanwhile."""
        await self._done()


class InboxReader:
    """Yields events in the order they came; who asks for the next has handled one.

    Args:
        database: Of the account.
        omemo: Knows what is decided about devices by now.
        courier: Keeps what the ratchet wants from the network.
        news: Set when the inbox has got something; cleared here.
    """

    def __init__(
        self, database: Database, omemo: Omemo, courier: Courier, news: asyncio.Event
    ) -> None:
        self._database = database
        self._inbox = Inbox(database)
        self._omemo = omemo
        self._courier = courier
        self._news = news
        self._reader: object = None
        self._is_awaited = False
        self._has_handled = False

    async def events(
        self, answer: Answer, fetch: Fetch | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield what nobody has handled; see ``Client.events``.

        Args:
            answer: What ``Message.reply`` calls.
            fetch: What ``Attachment.save`` calls.

        Raises:
            RuntimeError: Somebody else is reading.
        """
        async with aclosing(self.claims(answer, fetch)) as claims:
            async for claim in claims:
                reader = self._reader
                yield claim.event
                if self._reader is not reader:
                    raise RuntimeError("this client's events are read elsewhere")
                await claim.handled()

    async def claims(
        self, answer: Answer, fetch: Fetch | None = None
    ) -> AsyncGenerator[Claim, None]:
        """Yield what nobody has handled, each once, without waiting for its end.

        Args:
            answer: What ``Message.reply`` calls.
            fetch: What ``Attachment.save`` calls.

        Raises:
            RuntimeError: Somebody else is reading.
        """
        if self._is_awaited:
            raise RuntimeError("this client's events are being read already")
        reader = self._reader = object()
        self._is_awaited, last = True, 0
        try:
            while True:
                self._news.clear()
                now = datetime.now(UTC)
                rows = await self._inbox.pending(limit=_AT_ONCE, after=last, now=now)
                for row in rows:
                    last = row.id
                    if is_over(row.expires_at):
                        continue  # the one before took its time
                    with reading(self._database.path, "inbox"):
                        event = read_event(row.event_json, answer, fetch)
                    event = await self._as_known_now(event)
                    self._is_awaited = False
                    yield self._claim(row, event)
                    if self._reader is not reader:
                        raise RuntimeError("this client's events are read elsewhere")
                    self._is_awaited = True
                if len(rows) < _AT_ONCE:  # what came since then is news
                    await self._wait_for_news()
        finally:
            if self._reader is reader:
                self._is_awaited = False

    def _claim(self, row: InboxRow, event: Event) -> Claim:
        return Claim(
            event,
            functools.partial(self._mark_handled, row.id),
            functools.partial(self._mark_begun, row.id),
            functools.partial(self._settle, row.id),
            is_begun=row.is_begun,
        )

    async def _settle(self, row_id: int) -> None:
        self._has_handled = True
        await self._inbox.mark_handled(row_id)

    async def _mark_begun(self, row_id: int) -> None:
        async with self._database.transaction():
            await self._inbox.mark_begun(row_id)

    async def _wait_for_news(self) -> None:
        """Wait; when it is quiet, wipe what was handled from the disk."""
        if self._has_handled:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WIPE_AFTER):
                    await self._news.wait()
                    return
            await self._database.wipe_log()
            self._has_handled = False
        await self._news.wait()

    async def _mark_handled(self, row_id: int) -> None:
        """Forget an event that was handled, whoever is cancelled meanwhile.

        A signal that comes when it is printed already must not show it twice.
        """

        async def forget() -> None:
            async with self._database.transaction():
                await self._inbox.mark_handled(row_id)

        cancelled = await to_the_end(forget())
        self._has_handled = True
        if cancelled:
            raise cancelled

    async def _as_known_now(self, event: Event) -> Event:
        """Return what was said with what is decided about its device by now.

        It may have waited while somebody took a decision back, or a pin away.
        """
        if not isinstance(event, Said):
            return event
        level = await self._omemo.keyring.known_level(event.sender, event.fingerprint)
        if level is None:
            async with self._database.transaction():
                level = await self._omemo.keyring.level(event.sender, event.fingerprint)
                await self._courier.keep_effects()
        word = level.word
        return event if event.trust == word else replace(event, trust=word)
