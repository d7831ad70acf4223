"""What an archive got after a message, in order, to its end.

slixmpp's pager follows a page that never moves, and takes a place that the archive
has forgotten for an empty archive. Here each page has to move on, there is a bound
to the whole, and a forgotten place is looked for by its time and told.
"""

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.errors import SessionError
from xmpp_onion.session.archive import Archive, Archived, ExpiredError

__all__ = ["CatchUp", "Page"]

log = logging.getLogger(__name__)

# An archive of an account holds 10,000 messages in Prosody. One that sends this
# many in one go is not an archive.
_MOST_MESSAGES: Final = 200_000
# Pages in a row that lead to no message which was not there before.
_IDLE_PAGES: Final = 3
# The server's clock and ours may differ by this much: when the place in the
# archive is lost, so much more is asked for, and dropped where it is known.
_CLOCK_MARGIN: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries in the archive's order, and where they end.

    Attributes:
        entries: In their order.
        last_id: The archive's name for the last entry; empty if it has none.
        at: When the archive got that.
        is_last: The archive has nothing after these, for now.
        missing: Between these times the archive may have lost what it had before
            it was asked; None if nothing is missing.
    """

    entries: tuple[Archived, ...]
    last_id: str
    at: datetime
    is_last: bool
    missing: tuple[datetime, datetime] | None = None


class CatchUp:
    """What came after a message, once; the first request goes out at once.

    Args:
        archive: Where to look.
        last_id: The archive's name for that message. Empty begins with the oldest.
            None takes nothing: the one page only says where the archive ends now.
        since: When that was, in case that the archive has forgotten it.
        room: Whose archive; our own by default.

    Raises:
        SessionError: There is no session.
    """

    def __init__(
        self,
        archive: Archive,
        last_id: str | None,
        since: datetime | None = None,
        *,
        room: JID | None = None,
    ) -> None:
        self._archive = archive
        self._room = room
        self._place = last_id or ""
        self._since = since
        self._start: datetime | None = None
        self._missing_since: datetime | None = None
        self._is_newest_only = last_id is None
        # Prosody 13 takes a message that it does not know for the last one. What its
        # last one is comes in the same flight, and is looked at if nothing is new.
        self._newest = archive.ask(newest=True, room=room) if last_id else None
        self._query = archive.ask(
            after=self._place, newest=self._is_newest_only, room=room
        )

    async def pages(self) -> AsyncGenerator[Page, None]:
        """Yield pages; the next one is on its way while one is handled.

        Raises:
            SessionError: The archive could not be read to its end. What was
                yielded stands.
            FeatureMissingError: The server keeps no archive.
        """
        places: set[str] = {self._place}
        total = idle = 0
        try:
            while True:
                page = await self._next()
                moved = page.last_id not in places
                idle = 0 if moved else idle + 1
                total += len(page.entries)
                if not page.is_last and (idle == _IDLE_PAGES or total > _MOST_MESSAGES):
                    raise SessionError(
                        "the archive could not be read to its end",
                        why="its pages lead nowhere",
                        fix="What it still holds is asked for with the next login.",
                    )
                places.add(page.last_id)
                if moved:
                    self._place, self._since = page.last_id, page.at
                failure = None if page.is_last else self._ask_next()
                if moved or page.is_last:
                    yield page
                if failure is not None:
                    raise failure
                if page.is_last:
                    return
        finally:
            self.drop()

    def drop(self) -> None:
        """Take no further result: nobody reads the pages."""
        self._archive.drop(self._query)
        self._drop_newest()

    def _ask_next(self) -> SessionError | None:
        """Ask for the next page; an error has to wait until this one was handled."""
        try:
            self._query = self._archive.ask(
                after=self._place,
                start=self._start,
                limit=self._query.next_limit,
                room=self._room,
            )
        except SessionError as error:
            return error
        return None

    async def _next(self) -> Page:
        try:
            entries, is_last = await self._archive.read(self._query)
            if is_last and not entries:
                await self._check_place()
        except ExpiredError:
            if self._since is None or self._start is not None:
                raise SessionError(
                    "the archive could not be read",
                    why="item-not-found",
                    fix="It is read again after the next login.",
                ) from None
            log.warning("the archive has forgotten where we were")
            self._drop_newest()
            self._missing_since = self._since
            self._start = _earlier(self._since)
            self._place = ""  # so that an archive that is empty now is not asked again
            self._query = self._archive.ask(start=self._start, room=self._room)
            return await self._next()
        self._drop_newest()
        now = datetime.now(UTC)
        if self._is_newest_only:
            newest = entries[-1] if entries else Archived("", now, None)
            return Page((), newest.id, newest.at, is_last=True)
        last = entries[-1] if entries else Archived(self._place, now, None)
        page = Page(entries, last.id, last.at, is_last=is_last)
        since, self._missing_since = self._missing_since, None
        if since is None:
            return page
        # What it still has from before shows that it lost nothing after that.
        until = entries[0].at if entries else now
        return replace(page, missing=(since, until)) if until > since else page

    async def _check_place(self) -> None:
        """Raise if nothing comes after our place because it is not there."""
        if self._newest is not None:
            entries, _ = await self._archive.read(self._newest)
            if (entries[-1].id if entries else "") != self._place:
                raise ExpiredError

    def _drop_newest(self) -> None:
        if self._newest is not None:
            self._archive.drop(self._newest)
            self._newest = None


def _earlier(at: datetime) -> datetime:
    try:
        return at - _CLOCK_MARGIN
    except OverflowError:
        return at
