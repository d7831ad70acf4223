"""What our other devices know of where we are: bookmarks at our own server.

What a person does is noted at once, and told to the server when it can be reached.
"""

import asyncio
import logging
from collections.abc import Callable

from xmpp_onion.address import JID
from xmpp_onion.errors import SessionError
from xmpp_onion.rooms.care import in_time
from xmpp_onion.session import Bookmark, Session

__all__ = ["Marks"]

log = logging.getLogger(__name__)


class Marks:
    """The bookmarks of one account (XEP-0402).

    Args:
        session: Asks our server.
        wake: Called when there is something to tell it.
    """

    def __init__(self, session: Session, wake: Callable[[], None]) -> None:
        self._session = session
        self._bookmarks = session.rooms.bookmarks
        self._wake = wake
        self._waiting: dict[JID, str | None] = {}
        self._telling = asyncio.Lock()

    async def all(self, timeout: float) -> tuple[Bookmark, ...]:
        """Return the rooms that devices of ours are in, or were, as the server says.

        None of them is entered by itself.

        Raises:
            SessionError: No connection, or no answer, within ``timeout`` seconds.
        """
        async with in_time(self._session, timeout):
            return await self._bookmarks.all()

    def note(self, room: JID, nick: str | None) -> None:
        """Note that we are in a room now, by a nick; None where we left."""
        self._waiting[room] = nick
        self._wake()

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Tell the server what was noted, beside other things."""
        while self._waiting:
            tasks.create_task(self._tell(*self._waiting.popitem()))

    async def _tell(self, room: JID, nick: str | None) -> None:
        """Tell our other devices where we are, through our server; it may fail."""
        try:
            async with self._telling:  # one after the other, as they were wanted
                if nick is None:
                    await self._bookmarks.leave(room)
                else:
                    await self._bookmarks.keep(room, nick)
        except SessionError as error:
            log.info("a room is not bookmarked: %s", error.why or error.what)
