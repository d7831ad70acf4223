"""How long what is said may be kept: the timers of conversations, and what is due.

A timer travels inside of the envelope (XEP-0466), and each side counts by its own
clock: we from when we accepted a message, others from when it came to them or to
their server. What the sender's clock says does not matter.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.store import Database, TimerTable

__all__ = ["LONGEST", "Timers", "checked", "is_over"]

LONGEST: Final = timedelta(days=366)
"""The longest timer; others take none for longer than that from us either."""
_SHORTEST: Final = timedelta(seconds=1)
# Conversations whose timer need not be read for each message: 200 bytes each.
_MOST_KNOWN: Final = 1000


def checked(timer: timedelta | None) -> timedelta | None:
    """Return a timer that can be sent; one of no length is none.

    Raises:
        XmppOnionError: It is too short or too long.
    """
    if not timer:
        return None
    if not _SHORTEST <= timer <= LONGEST:
        raise XmppOnionError(
            "the time that a message may be kept is not possible",
            why="it is from a second to a year",
            fix="Leave it out, and the message is kept for as long as its readers do.",
        )
    return timer


def is_over(expires_at: datetime | None, now: datetime | None = None) -> bool:
    """Tell whether something has had its time."""
    return expires_at is not None and expires_at <= (now or datetime.now(UTC))


class Timers:
    """The timers of an account.

    Args:
        database: Of the account.

    Attributes:
        due: Set when something was kept that is to be erased; who erases clears it.
    """

    def __init__(self, database: Database) -> None:
        self.due = asyncio.Event()
        self._database = database
        self._table = TimerTable(database)
        self._known: dict[str, timedelta | None] = {}
        self._changes = 0

    async def of(self, jid: JID) -> timedelta | None:
        """Return how long what we say in a conversation may be kept."""
        bare = jid.bare
        if bare in self._known:
            return self._known[bare]
        changes = self._changes
        timer = await self._table.load(bare)
        if changes == self._changes:  # else it may be what was there before
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[bare] = timer
        return timer

    async def set(self, jid: JID, timer: timedelta | None) -> None:
        """Set how long what we say there from now on may be kept; None for ever."""
        async with self._database.transaction():
            self._changes += 1
            await self._table.store(jid.bare, checked(timer))
        self._known.pop(jid.bare, None)

    def begin(
        self, timer: timedelta | None, since: datetime | None = None
    ) -> datetime | None:
        """Return when something is to be erased; None for never.

        Args:
            timer: How long it may be kept.
            since: When it came; now by default, and never later.
        """
        if timer is None:
            return None
        self.due.set()
        now = datetime.now(UTC)
        return min(since or now, now) + timer
