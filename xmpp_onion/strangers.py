"""What strangers may cost: rows, requests to servers, and events.

A stranger is whoever is not on our contact list. Nobody is told that we do not
know him; what he sends beyond his share is not opened, and told as a number.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import Undecryptable, write_event
from xmpp_onion.session import Bucket
from xmpp_onion.silence import Silence
from xmpp_onion.store import Contacts, Database, Inbox, Moment, reading
from xmpp_onion.store import Strangers as StrangerTable

__all__ = ["Shares", "Strangers"]

_UNOPENED: Final = "unopened"
_UNREADABLE: Final = "unreadable"
_REASONS: Final = {
    _UNOPENED: "strangers sent more than is kept for them; it was not opened",
    _UNREADABLE: "as those before",
}
_HOUR: Final = 3600.0
# Messages that are counted in memory before it is written down: a flood
# then costs a transaction for as many. A kill forgets them, but not the archive,
# whose cursor has not moved past them.
_UNWRITTEN: Final = 64


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of what.

    Args:
        of_one: What waits unread of one stranger: messages, each with a further one
            for each KiB of it. A day of two messages a minute fits.
        of_all: The same for all strangers; about 20 MB.
        burst: Messages of one stranger at once, whether or not somebody reads them.
        per_second: And then.
        fetches: Unknown devices of strangers whose keys are fetched at once; each
            costs two round trips.
        fetches_per_hour: And then.
        told_of_one: Unreadable messages of one stranger that are told one by one.
        told_of_all: The same for all strangers.
        told_of_contact: The same for each contact.
    """

    of_one: int = 4_000
    of_all: int = 20_000
    burst: int = 4_000
    per_second: float = 5.0
    fetches: int = 200
    fetches_per_hour: float = 400.0
    told_of_one: int = 10
    told_of_all: int = 100
    told_of_contact: int = 100


class Strangers:
    """Says what is opened, fetched and told.

    Args:
        database: Of the account.
        contacts: Who is no stranger.
        own: Our bare JID; we are no stranger to ourselves.
        news: Set when the inbox has got something.
        shares: How much of what.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        database: Database,
        *,
        contacts: Contacts,
        own: JID,
        news: asyncio.Event,
        shares: Shares | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        shares = self._shares = shares or Shares()
        self._database = database
        self._own = own.bare
        self._news = news
        self._contacts = contacts
        self._table, self._inbox = StrangerTable(database), Inbox(database)
        self._counted: Counter[tuple[str, str]] = Counter()
        self._unsure: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        database.at(Moment.ENDED, self._note_ended)
        database.after_commit(self._ended.clear)
        database.on_rollback(self._take_back)
        database.at(Moment.LOST, self._take_back_all)
        self._messages = Bucket(shares.burst, shares.per_second, clock=clock)
        per_hour = shares.fetches_per_hour / _HOUR
        self._fetches = Bucket(shares.fetches, per_hour, clock=clock)
        self._told, self._told_of_all, self._told_of_contact = (
            Bucket(number, number / _HOUR, clock=clock)
            for number in (
                shares.told_of_one,
                shares.told_of_all,
                shares.told_of_contact,
            )
        )
        self.silence = Silence(self.tell_rest)

    async def run(self) -> None:
        """Tell what was only counted, when a silence is over; never returns."""
        self.silence.begin()  # what an earlier process counted is told, too
        await self.silence.run()

    async def is_stranger(self, jid: JID) -> bool:
        """Tell whether somebody is not on our contact list."""
        return jid.bare != self._own and not await self._contacts.is_contact(jid.bare)

    # --- what is opened ----------------------------------------------------------

    async def may_open(self, jid: JID) -> bool:
        """Tell whether a message is to be opened; if not, it is counted.

        Counted in memory at first: call :meth:`write_down` when :attr:`is_due`.
        """
        bare = jid.bare
        if not await self.is_stranger(bare):
            return True
        if self._messages.take(bare) and await self._has_room(bare):
            return True
        self._count(_UNOPENED, bare)
        return False

    def _count(self, kind: str, jid: str) -> None:
        self._counted[kind, jid] += 1
        self.silence.begin()

    async def _has_room(self, jid: JID) -> bool:
        of_one, of_all = await self._table.weights(jid)
        return of_one < self._shares.of_one and of_all < self._shares.of_all

    def may_fetch(self) -> bool:
        """Tell whether the keys of one more unknown device may be fetched."""
        return self._fetches.take("")

    @property
    def is_due(self) -> bool:
        """Whether enough was counted in memory to write it down."""
        return self._counted.total() >= _UNWRITTEN

    async def write_down(self) -> None:
        """Keep what was counted in memory. In a transaction."""
        counted, self._counted = self._counted, Counter()
        self._unsure += counted
        for (kind, jid), number in counted.items():
            await self._table.count(kind, jid, number)

    def _note_ended(self) -> None:
        self._ended.update(self._unsure)
        self._unsure.clear()

    def _take_back(self) -> None:
        """Count on with what a roll-back took off the disk."""
        self._counted += self._unsure
        self._unsure.clear()

    def _take_back_all(self) -> None:
        self._counted += self._ended
        self._ended.clear()

    # --- what waits and what is told ---------------------------------------------

    async def mark(self, jid: JID, size_bytes: int) -> None:
        """Note whose the row is that was put into the inbox just now.

        In its transaction.
        """
        if await self.is_stranger(jid):
            await self._table.mark(jid.bare, 1 + size_bytes // 1024)

    async def may_tell(self, jid: JID) -> bool:
        """Tell whether an unreadable message is an event; if not, it is counted."""
        bare = jid.bare
        if await self.is_stranger(bare):
            may = self._told.take(bare) and self._told_of_all.take("")
        else:
            may = self._told_of_contact.take(bare)
        if not may:
            self._count(_UNREADABLE, bare)
        return may

    async def tell_rest(self) -> bool:
        """Tell how many messages were only counted; whether any were.

        While much of strangers waits unread, it is counted on.
        """
        async with self._database.transaction():
            await self.write_down()
            if await self._table.weight() >= 2 * self._shares.of_all:
                return True
            tallies = await self._table.take_tallies(_UNOPENED, _UNREADABLE)
            for tally in tallies:
                with reading(self._database.path, "tallies"):
                    sender = JID(tally.jid) if tally.jid else self._own
                event = Undecryptable(
                    id="",
                    sender=sender,
                    reason=_REASONS[tally.kind],
                    at=datetime.now(UTC),
                    count=tally.count,
                )
                await self._inbox.put(write_event(event))
                await self._table.mark(tally.jid or self._own, 1)
        if tallies:
            self._news.set()
        return bool(tallies)
