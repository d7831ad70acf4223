"""An agent: it keeps an account, lends it to who asks, and takes it again."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeAlias

from xmpp_onion.account import Account
from xmpp_onion.agent.desk import Desk
from xmpp_onion.agent.hatch import Share
from xmpp_onion.agent.loan import Borrower
from xmpp_onion.client import Client
from xmpp_onion.errors import StoreLockedError, TorError

__all__ = ["Enter", "Keeper", "keep"]

log = logging.getLogger(__name__)

Enter: TypeAlias = Callable[[Account], AbstractAsyncContextManager[Client]]
"""Logs in; leaving it lets go of the account."""

# Seconds that others have to be done with before the account is lent: a text takes less
# than one, and whoever wants to talk is not to wait for a film.
_DRAIN_SECONDS: Final = 10.0
# Seconds between two tries to have the account, or a Tor, that others have taken.
_PAUSE: Final = 1.0


@asynccontextmanager
async def keep(
    account: Account,
    enter: Enter,
    *,
    stop: asyncio.Event,
    share: Share | None = None,
    is_patient: bool = False,
) -> AsyncIterator["Keeper"]:
    """Hold an account and answer for it while the block runs, which begins logged in.

    Args:
        account: Whose.
        enter: Logs in, again and again.
        stop: Set when somebody asks us to end.
        share: Where other users may have us send something, if they may.
        is_patient: Wait for an account that another process holds at first.

    Raises:
        StoreLockedError: Another process holds the account.
        XmppOnionError: As ``enter``; after a loan as well, unless Tor is the reason.
    """
    async with (
        Desk.open(account, stop=stop, share=share, lends=True) as desk,
        asyncio.TaskGroup() as tasks,
    ):
        keeper = Keeper(account, enter, desk, stop, is_patient=is_patient)
        keeping = tasks.create_task(keeper.run())
        try:
            await keeper.begun.wait()
            yield keeper
        finally:
            keeping.cancel()


class Keeper:
    """Keeps an account; :func:`keep` makes one.

    Attributes:
        begun: Set once it is logged in for the first time.
        lent: Who has the account now; None if we do.
        changed: Called when somebody else has it, or we have it again.
    """

    def __init__(
        self,
        account: Account,
        enter: Enter,
        desk: Desk,
        stop: asyncio.Event,
        *,
        is_patient: bool,
    ) -> None:
        self.begun = asyncio.Event()
        self.lent: Borrower | None = None
        self.changed: Callable[[], None] = lambda: None
        self._account = account
        self._enter = enter
        self._desk = desk
        self._stop = stop
        self._is_patient = is_patient
        self._client: Client | None = None

    @property
    def is_away(self) -> bool:
        """Whether there is no connection of ours to look after."""
        return self._client is None or self._client.is_away

    @property
    def words(self) -> str:
        """How it is, for a person."""
        if self.lent is not None:
            return f"lent to {self.lent.program}, process {self.lent.pid}"
        return "waiting for the network" if self.is_away else "connected"

    async def ping(self, timeout: float) -> None:
        """Ask the server something, if we are logged in.

        Raises:
            SessionError: No connection, or no answer, in time.
        """
        if self._client is not None:
            await self._client.ping(timeout)

    async def run(self) -> None:
        """Hold the account, and lend it; never returns."""
        while True:
            borrower = await self._hold_until_asked()
            try:
                await self._lend(borrower)
            finally:
                borrower.close()
                self.lent = None
            self._account = self._account.reload()
            self._desk.is_lent = False
            self._desk.resume()
            self.changed()

    async def _hold_until_asked(self) -> Borrower:
        async with asyncio.TaskGroup() as tasks:
            staying = tasks.create_task(self._stay())
            while True:
                borrower = await self._desk.borrowers.get()
                if borrower.is_gone:
                    borrower.close()
                elif await self._make_ready():
                    break
                else:
                    await borrower.refuse(_busy())
            # Of what follows nothing fails for the sake of who asked: he is gone then.
            self._desk.is_lent = True
            staying.cancel()
        return borrower

    async def _make_ready(self) -> bool:
        """Finish what others asked for, and begin nothing; whether that is done."""
        self._desk.pause()
        if await self._desk.drain(_DRAIN_SECONDS):
            return True
        self._desk.resume()
        return False

    async def _stay(self) -> None:
        """Hold the account until cancelled."""
        while True:
            try:
                async with self._enter(self._account) as client:
                    await self._serve(client)
            except (StoreLockedError, TorError) as error:
                is_held = isinstance(error, StoreLockedError)
                if not (self.begun.is_set() or (is_held and self._is_patient)):
                    raise
                log.warning("the account is not taken yet: %s", type(error).__name__)
                if is_held:  # whoever waits for us is sent to who answers in our place
                    self._desk.pause()
                await asyncio.sleep(_PAUSE)
                self._desk.resume()

    async def _serve(self, client: Client) -> None:
        async with self._desk.seated(client):
            self._client = client
            try:
                self.begun.set()
                self.changed()
                await asyncio.Event().wait()
            finally:
                self._client = None

    async def _lend(self, borrower: Borrower) -> None:
        """Give the account to somebody, and return when it is back."""
        self.lent = borrower
        log.info("the account is lent")
        if not await borrower.hand_over(self._desk.listeners):
            return
        while not self._desk.borrowers.empty():
            await self._desk.borrowers.get_nowait().send_elsewhere()
        self.changed()
        if await borrower.wait():
            self._stop.set()
            await asyncio.Event().wait()  # whoever keeps us ends us
        log.info("the account is back")


def _busy() -> StoreLockedError:
    return StoreLockedError(
        "the agent does not lend the account now",
        why=f"what others asked it for is not done after {_DRAIN_SECONDS:.0f} seconds",
        fix="Try again when that is done, such as a file on its way; or end it: "
        "xmpp-onion agent stop",
    )
