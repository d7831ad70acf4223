"""Transactions that end while others wait, and share one commit with them.

To SQLite a group is one transaction, and each transaction in it lies behind a
savepoint: one that fails is undone alone. Nobody is told that a transaction is over
before all of the group is on the disk; if that fails, all of it is undone and each
is told so.
"""

import asyncio
import enum
from collections.abc import Callable

from xmpp_onion.errors import StoreError
from xmpp_onion.store.statements import BEGIN, RELEASE, SAVEPOINT, Statement

__all__ = ["Group", "Hook", "Moment", "Transaction"]

# Transactions with one commit at most: the first of them waits for the others, and
# each takes about a thousandth of a second.
_TOGETHER = 32
# Seconds that a group stays open for who was let come. He has to read in memory what
# it takes to encrypt; if he asks the network, nobody waits for that.
_GRACE = 0.01

Hook = Callable[[], None]


class Moment(enum.Enum):
    """When somebody is called. None of them may raise."""

    ENDED = enum.auto()
    """A transaction has ended well. It may not be on the disk yet; nobody outside of
    a transaction reads the file before it is."""

    COMMITTED = enum.auto()
    """All that has ended is on the disk."""

    UNDONE = enum.auto()
    """A transaction was undone; for caches, which may hold what never came to be."""

    LOST = enum.auto()
    """All that has ended and was not on the disk was undone, too. Comes behind
    UNDONE."""


class Group:
    """What is committed at once.

    Attributes:
        ended: How many transactions of it have ended well.
        has_begun: Whether SQLite knows of it.
        is_over: Whether it was committed, or undone.
        failure: Why it was undone.
        generation: Of the file when it is committed; 0 if nothing was changed.
    """

    def __init__(self) -> None:
        self.ended = 0
        self.has_begun = False
        self.is_over = False
        self._go = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.failure: Exception | None = None
        self.generation = 0

    def close(self, failure: Exception | None = None) -> None:
        """Let everybody go on who waits for it."""
        self.is_over, self.failure = True, failure
        self._go.set()
        if self._timer is not None:
            self._timer.cancel()

    async def wait(self) -> None:
        """Wait until it is over, or was open for long enough."""
        if self._timer is None and not self.is_over:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_GRACE, self._go.set)
        await self._go.wait()

    async def wait_to_the_end(self) -> asyncio.CancelledError | None:
        """Do the same, whoever is cancelled meanwhile; return the cancellation."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                await self.wait()
            except asyncio.CancelledError as error:
                cancelled = error
            else:
                return cancelled

    @property
    def is_full(self) -> bool:
        """Whether nobody may join but one more."""
        return self.ended >= _TOGETHER - 1


class Transaction:
    """The identity of one transaction, and how far it is.

    Args:
        group: Whose commit it shares.

    Attributes:
        group: That.
        wrote: Whether it changed anything.
        has_begun: Whether SQLite knows of it: from its first statement on.
        is_followed: Whether somebody was let come who shall share its commit.
        is_part: Whether it lies behind a savepoint.
        gathered: What is to be written, and goes with what is next read.
        broken_by: Why a statement failed; those behind it were not run.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.wrote = False
        self.has_begun = False
        self.is_followed = False
        self.is_part = False
        self.gathered: list[Statement] = []
        self.broken_by: StoreError | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it had nothing to do with the file so far; then it waits for none."""
        return not (self.wrote or self.has_begun)

    def begin(self) -> tuple[Statement, ...]:
        """Return what its first statement needs before it."""
        if self.has_begun:
            return ()
        self.is_part = self.group.has_begun
        self.has_begun = self.group.has_begun = True
        return (SAVEPOINT if self.is_part else BEGIN,)

    def release(self) -> tuple[Statement, ...]:
        """Return what keeps it, should one behind it be undone."""
        is_part = self.is_part if self.has_begun else self.group.has_begun
        return (RELEASE,) if is_part else ()

    def check(self) -> None:
        """Raise what the group failed for, if it did; each member its own."""
        failure = self.group.failure
        if isinstance(failure, StoreError):
            raise type(failure)(failure.what, why=failure.why, fix=failure.fix) from (
                failure.__cause__
            )
        if failure is not None:
            raise RuntimeError(*failure.args)
