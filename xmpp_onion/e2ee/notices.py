"""What is to be told about devices: kept once each, and never a storm.

A key that is refused is often found out while an operation fails, and its
transaction is undone. So what is to be told waits here, and is written with the next
transaction that is not.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TypeAlias

from xmpp_onion.chat import KeyChanged, KeyReuse, NewDevice, TrustChanged, write_event
from xmpp_onion.store import Database, Inbox, Moment

__all__ = ["Notice", "Notices"]

log = logging.getLogger(__name__)

Notice: TypeAlias = NewDevice | KeyChanged | KeyReuse | TrustChanged

# Of one account in a day: as many as it may have devices. Who makes more wants to
# tire us of looking.
_OF_ONE_A_DAY = 32
# Of all accounts in a day, besides the first of each kind of each: who fills this up
# must not keep it from us that somebody else's key changes. Each takes 300 bytes of
# the inbox until it is read.
_OF_ALL_A_DAY = 256


class Notices:
    """Events about devices on their way into the inbox.

    Args:
        now: The time in UTC; tests pass their own.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self._database: Database | None = None
        self._inbox: Inbox | None = None
        self._arrived: Callable[[], None] = _nothing
        self._waiting: dict[str, Notice] = {}
        self._written: dict[str, Notice] = {}  # by the transaction that is open
        self._ended: dict[str, Notice] = {}  # by others that are not committed
        self._day: date | None = None
        self._counts: Counter[str] = Counter()
        self._told_of: set[tuple[str, str]] = set()

    def attach(self, database: Database) -> None:
        """Write what is to be told with each transaction of ``database``."""
        self._database, self._inbox = database, Inbox(database)
        database.before_commit(self._write)
        database.at(Moment.ENDED, self._note_ended)
        database.after_commit(self._settle)
        database.on_rollback(self._restore)
        database.at(Moment.LOST, self._restore_all)

    def watch(self, arrived: Callable[[], None]) -> None:
        """Call ``arrived`` when the inbox has got something."""
        self._arrived = arrived

    def add(self, notice: Notice) -> None:
        """Have something told, unless it was, or too much is told already."""
        key = _key(notice)
        if not any(key in told for told in (self._waiting, self._written, self._ended)):
            self._waiting[key] = notice
            if len(self._waiting) > _OF_ALL_A_DAY:
                del self._waiting[key]

    async def flush(self) -> None:
        """Write what waits at once; outside of transactions."""
        if self._database is not None and self._waiting:
            async with self._database.transaction():
                pass  # what waits is written with any of them

    async def _write(self) -> None:
        if self._inbox is None or not self._waiting:
            return
        for key, notice in self._waiting.items():
            repeats = isinstance(notice, TrustChanged)
            if not repeats and await self._inbox.is_seen(key):
                continue
            if not self._may_tell(notice):
                log.warning("%s: too much happens to devices", notice.sender.short)
                continue
            if not repeats:
                await self._inbox.mark_seen(key)
            await self._inbox.put(write_event(notice))
        self._written, self._waiting = self._waiting, {}

    def _may_tell(self, notice: Notice) -> bool:
        today = self.now().date()
        if today != self._day:
            self._day = today
            self._counts.clear()
            self._told_of.clear()
        kind = (notice.sender, type(notice).__name__)
        if kind in self._told_of and (
            self._counts[notice.sender] >= _OF_ONE_A_DAY
            or self._counts.total() >= _OF_ALL_A_DAY
        ):
            return False
        self._told_of.add(kind)
        self._counts[notice.sender] += 1
        return True

    def _note_ended(self) -> None:
        if self._written:
            self._ended |= self._written
            self._written.clear()

    def _settle(self) -> None:
        if self._ended:
            self._ended.clear()
            self._arrived()

    def _restore(self) -> None:
        self._waiting = {**self._written, **self._waiting}
        self._written.clear()

    def _restore_all(self) -> None:
        self._waiting = {**self._ended, **self._waiting}
        self._ended.clear()


def _key(notice: Notice) -> str:
    """Name what is told; a hash, because who reads the disk need not see of whom."""
    parts = (type(notice).__name__, notice.sender, notice.device, notice.fingerprint)
    return "notice " + hashlib.sha256(repr(parts).encode()).hexdigest()


def _nothing() -> None:
    """Stand in until somebody watches."""
