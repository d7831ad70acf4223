"""What an archive got while we were away, as steps to take one by one.

A step says where the archive is taken in up to; whoever takes it keeps the message
and that place in one transaction. So a process that is killed goes on with the
message after the last one that it kept.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from xmpp_onion.address import JID
from xmpp_onion.errors import FeatureMissingError, SessionError
from xmpp_onion.session import CatchUp, Incoming, Invitation, Page, Session
from xmpp_onion.store import Cursor, Cursors

__all__ = ["Backlog", "Step"]

log = logging.getLogger(__name__)

# How often an archive that does not answer as it should is asked while others wait.
_ATTEMPTS = 2
# Seconds until it is asked again.
_PAUSE = 1.0
# Seconds until one that was given up is asked again; twice as long each time. Nobody
# waits for it, and a server that is in trouble is not helped by many questions.
_RETRY = 30.0
_LONGEST_RETRY = 600.0


@dataclass(frozen=True, slots=True)
class Step:
    """One message to take in, or only a place to note.

    Attributes:
        cursor: Where the archive is taken in up to after it.
        incoming: The message.
        invitation: What it is instead, where somebody asks us into a room.
        missing: The archive may have lost what it got between these times.
    """

    cursor: Cursor
    incoming: Incoming | None = None
    invitation: Invitation | None = None
    missing: tuple[datetime, datetime] | None = None


class Backlog:
    """The archive of one account, or of a room, from where we left it to its end.

    Args:
        session: Asks the archive.
        cursors: Where we left it.
        own: The account.
        room: The room; None for the account's own archive.

    Attributes:
        is_taken_in: All up to now is taken in, so a live message is the next one
            of the archive, and may move the cursor. Before, it could jump over some.
    """

    def __init__(
        self, session: Session, cursors: Cursors, own: JID, room: JID | None = None
    ) -> None:
        self.is_taken_in = self.is_missing = False
        self._session = session
        self._cursors = cursors
        self._place = (room or own).bare
        self._room = room
        self._asked: CatchUp | None = None

    async def ask(self) -> None:
        """Send the first request, so that its answer comes while others are awaited.

        The first time ever there is nothing to take in: what is older than this
        device cannot be read by it. Then only the archive's end is noted.
        """
        self.is_taken_in = False
        if self._asked is not None:
            self._asked.drop()
        self._asked = None
        cursor = await self._cursors.load(self._place)
        archive = self._session.archive
        if cursor is None:
            self._asked = CatchUp(archive, None, room=self._room)
        else:
            self._asked = CatchUp(archive, cursor.last_id, cursor.at, room=self._room)

    def pause(self) -> bool:
        """Let no live message move the cursor, until the archive is read once more.

        Returns:
            Whether the archive could be read.
        """
        was, self.is_taken_in = self.is_taken_in, False
        return was

    async def steps(self) -> AsyncGenerator[list[Step], None]:
        """Yield steps, a page at a time, to the archive's end.

        A connection that breaks is a pause. An archive that cannot be read is
        given up for this time, and nothing is lost by that: the cursor stays, and
        :meth:`retries` says when it is due again.

        Raises:
            XmppOnionError: The session has ended for good.
        """
        failures = 0
        while failures < _ATTEMPTS:
            await self._session.wait_online()
            losses = self._session.losses
            try:
                async with aclosing(self._pages()) as pages:
                    async for page in pages:
                        yield list(_steps(page, self._room or ""))
            except FeatureMissingError:
                log.info("the server keeps no archive")
                self.is_missing = True
                break
            except SessionError as error:
                log.info("the archive has to wait: %s", error.why or error.what)
                failures += losses == self._session.losses
                await asyncio.sleep(_PAUSE)
            else:
                self.is_taken_in = True
                return
        else:
            log.warning("the archive cannot be read; it is tried again later")

    async def retries(self) -> AsyncGenerator[None, None]:
        """Yield when an archive that could not be read is due again, until it was.

        What came while we were away is there and nowhere else: a server that was
        asked for it sends nothing of it by itself, and the next login may be weeks
        away.
        """
        pause = _RETRY
        while not (self.is_taken_in or self.is_missing):
            await asyncio.sleep(pause)
            yield
            pause = min(2 * pause, _LONGEST_RETRY)

    async def _pages(self) -> AsyncGenerator[Page, None]:
        if self._asked is None:
            await self.ask()
        asked, self._asked = self._asked, None
        if asked is not None:
            async with aclosing(asked.pages()) as pages:
                async for page in pages:
                    yield page


def _steps(page: Page, archive: str) -> Iterator[Step]:
    if page.missing is not None:
        since, _ = page.missing
        # With its time, but at no message: nothing that is left may be left out.
        yield Step(Cursor("", since, archive), missing=page.missing)
    end = Cursor(page.last_id, page.at, archive)
    is_at_end = False
    for entry in page.entries:
        if entry.incoming is not None or entry.invitation is not None:
            cursor = Cursor(entry.id, entry.at, archive)
            is_at_end = cursor == end
            yield Step(cursor, entry.incoming, entry.invitation)
    if not is_at_end:
        yield Step(end)
