"""The holder's side: log in, and answer what other processes of this user ask."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Self

from xmpp_onion import private
from xmpp_onion.account import Account
from xmpp_onion.agent import sending
from xmpp_onion.agent.caller import AGAIN, socket_path
from xmpp_onion.agent.hatch import Share, admit
from xmpp_onion.agent.loan import Borrower, Loan
from xmpp_onion.agent.reception import Reception
from xmpp_onion.agent.requests import perform
from xmpp_onion.agent.spooler import Spooler
from xmpp_onion.agent.standing import Standing
from xmpp_onion.agent.tor import find_tor
from xmpp_onion.chat import Line
from xmpp_onion.client import LOGIN_TIMEOUT, Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import SessionError, XmppOnionError
from xmpp_onion.store import check_free
from xmpp_onion.transport import Listener, Peer, Tor, peer_user

__all__ = ["Desk", "enter", "hold", "serve"]

# Who asks for the account at once: a person with that many terminals has others to
# close first.
_BORROWERS: Final = 8
# Seconds for what others asked for to be finished when the account goes back.
_END_PATIENCE: Final = 10.0


@asynccontextmanager
async def hold(
    account: Account,
    *,
    socks: str | None = None,
    control: str | None = None,
    trust: Trust | None = None,
    login_timeout: float | None = LOGIN_TIMEOUT,
    watch: Callable[[Tor], Awaitable[None]] | None = None,
    loan: Loan | None = None,
) -> AsyncIterator[Client]:
    """Log in, serve the profile's socket, and yield the client.

    Args:
        account: Who we are.
        socks: As of `enter`.
        control: As of `enter`.
        trust: As of `enter`.
        login_timeout: As of `enter`.
        watch: As of `enter`.
        loan: What an agent lent us, if it is its account.

    Raises:
        StoreLockedError: Another process holds the account.
        XmppOnionError: As ``Tor`` and ``Client``.
    """
    way = {"socks": socks, "control": control}
    async with (
        Desk.open(account, loan=loan) as desk,
        enter(
            account, **way, trust=trust, login_timeout=login_timeout, watch=watch
        ) as client,
        desk.seated(client),
    ):
        yield client


@asynccontextmanager
async def enter(
    account: Account,
    *,
    socks: str | None = None,
    control: str | None = None,
    trust: Trust | None = None,
    login_timeout: float | None = LOGIN_TIMEOUT,
    watch: Callable[[Tor], Awaitable[None]] | None = None,
) -> AsyncIterator[Client]:
    """Log in through Tor and yield the client; nobody is answered.

    Args:
        account: Who we are.
        socks: Tor's SOCKS port; by default a running Tor, else a child of our own.
        control: Its control port.
        trust: Instead of the account's policy.
        login_timeout: Seconds that the login may take; None waits for ever.
        watch: Awaited before the login: shows how Tor gets into its network, or
            gives it up.

    Raises:
        StoreLockedError: Another process holds the account.
        XmppOnionError: As ``Tor`` and ``Client``.
    """
    check_free(account.store_path)  # before a Tor is started for nothing
    folder = account.folder / "tor"
    async with find_tor(folder, socks=socks, control=control) as tor:
        if watch is not None:
            await watch(tor)
        async with Client(
            account, tor=tor, trust=trust, login_timeout=login_timeout
        ) as client:
            yield client


@asynccontextmanager
async def serve(
    client: Client,
    *,
    stop: asyncio.Event | None = None,
    share: Share | None = None,
) -> AsyncIterator[None]:
    """Answer requests of this user's other processes while the block runs.

    Args:
        client: Logged in.
        stop: Set when one of them asks us to end; None refuses that.
        share: Where other users may have us send something, if they may.
    """
    async with (
        Desk.open(client.account, stop=stop, share=share) as desk,
        desk.seated(client),
    ):
        yield


class Desk:
    """Answers what other processes ask for, and has them wait while it cannot.

    Use :meth:`open`.

    Attributes:
        borrowers: Who asks for the account; for who takes them up one by one.
        is_lent: Whether another process has the account and answers for it.

    Args:
        account: Whose.
        tasks: Where people are answered.
        stop: Set when one of them asks us to end; None refuses that.
        share: Where other users may have us send something, if they may.
        loan: What an agent lent us: people are met already.
        lends: Whether somebody takes up borrowers.
    """

    def __init__(
        self,
        account: Account,
        tasks: asyncio.TaskGroup,
        *,
        stop: asyncio.Event | None = None,
        share: Share | None = None,
        loan: Loan | None = None,
        lends: bool = False,
    ) -> None:
        self.borrowers: asyncio.Queue[Borrower] = asyncio.Queue(_BORROWERS)
        self.is_lent = False
        self._account = account
        self._tasks = tasks
        self._share = share
        self._loan = loan
        self._lends = lends
        self._standing = Standing(account.jid, stop, loan)
        self._client: Client | None = None
        self._is_leaving = False
        # Set when it is known who answers: we do, or somebody else.
        self._decided = asyncio.Event()
        self._receptions: list[Reception] = []
        if loan is not None:
            self._meet(*loan.listeners)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        account: Account,
        *,
        stop: asyncio.Event | None = None,
        share: Share | None = None,
        loan: Loan | None = None,
        lends: bool = False,
    ) -> AsyncIterator[Self]:
        """Yield a desk; nobody comes to it before somebody is :meth:`seated`."""
        async with asyncio.TaskGroup() as tasks:
            desk = cls(account, tasks, stop=stop, share=share, loan=loan, lends=lends)
            try:
                yield desk
            finally:
                await desk.leave()

    @asynccontextmanager
    async def seated(self, client: Client) -> AsyncIterator[None]:
        """Answer with a client that is logged in while the block runs.

        The account's lock is ours then, so a socket that lies there is of a process
        that died.
        """
        spooler = Spooler(client)
        async with asyncio.TaskGroup() as tasks:
            spooling = tasks.create_task(spooler.run())
            try:
                self._standing.begin(client, spooler)
                self._client = client
                self._decided.set()
                self._listen()
                yield
            finally:
                if not self.is_lent:
                    await self.leave()
                self._client = None
                self._standing.end()
                spooling.cancel()

    @property
    def listeners(self) -> list[Listener]:
        """The sockets at which people come."""
        return [each.listener for each in self._receptions]

    def pause(self) -> None:
        """Begin nothing more; who waits for a login is told to ask again."""
        self._is_leaving = True
        self._decided.set()
        for each in self._receptions:
            each.pause()

    async def drain(self, seconds: float) -> bool:
        """Finish what was begun; return whether that is done."""
        try:
            async with asyncio.timeout(seconds):
                for each in self._receptions:
                    await each.drain()
        except TimeoutError:
            return False
        return True

    def resume(self) -> None:
        """Meet people again; those who came meanwhile are the first."""
        self._is_leaving = False
        if self._client is None:
            self._decided.clear()
        for each in self._receptions:
            each.open()

    async def leave(self) -> None:
        """Meet nobody any more; a second time does nothing.

        Where another process has the account, or takes it again, the sockets keep
        their names: who comes meanwhile waits for it.
        """
        is_kept = self.is_lent or (self._loan is not None and not self._loan.is_over)
        self.pause()
        if not is_kept:
            for listener in self.listeners:
                listener.remove()
        if is_kept or self._client is None:  # then they only waited, and ask again
            await self.drain(_END_PATIENCE)
        for each in self._receptions:
            each.close()
        self._receptions = []

    def _listen(self) -> None:
        if self._receptions and all(each.is_in_place for each in self.listeners):
            return
        for each in self._receptions:
            each.close()
        path = socket_path(self._account.folder)
        private.check_folder(path.parent)
        found = [Listener.at(path)]
        if self._share is not None:
            share = self._share
            found.append(Listener.at(share.path, group=share.group))
        self._meet(*found)

    def _meet(self, own: Listener, *shared: Listener) -> None:
        """Take in who comes: at our own socket, and at those that others may reach."""
        visit = self._take_up if self._lends else None
        self._receptions = [
            Reception(own, self._answer, self._tasks, visit=visit),
            *(
                Reception(each, self._answer_stranger, self._tasks, is_shared=True)
                for each in shared
            ),
        ]
        for each in self._receptions:
            each.open()

    def _take_up(self, request: Line, peer: Peer) -> bool:
        """Keep the connection of a program of this very user that wants the account."""
        if request.get("do") != "lend" or self.borrowers.full():
            return False
        if peer_user(peer) not in {None, os.geteuid()}:
            return False
        self.borrowers.put_nowait(Borrower.of(request, peer))
        return True

    async def _answer(self, request: Line, tell: Callable[[Line], None]) -> list[Line]:
        told = await self._standing.answer(request)
        if told is not None:
            return told
        client = await self._find_client(request)
        if client is None:
            return self._answer_alone(request)
        return await perform(client, request, tell)

    async def _answer_stranger(
        self, request: Line, _: Callable[[Line], None]
    ) -> list[Line]:
        client = await self._find_client(request)
        if client is None:
            return [AGAIN if self._is_leaving else _not_there().as_line()]
        try:
            return await perform(client, await admit(client.tokens, request))
        except XmppOnionError as error:
            return [error.as_line()]

    async def _find_client(self, request: Line) -> Client | None:
        """Wait for a login as long as one that the request needs itself may take."""
        timeout = request.get("timeout")
        seconds = float(timeout) if isinstance(timeout, int | float) else LOGIN_TIMEOUT
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._decided.wait()
        return self._client

    def _answer_alone(self, request: Line) -> list[Line]:
        """Answer without a login: a text that is to be queued need not wait for one."""
        if self._is_leaving:
            return [AGAIN]
        if request.get("do") == "send" and request.get("queue") is True:
            try:
                return sending.queue_alone(self._account, request)
            except XmppOnionError as error:
                return [error.as_line()]
        return [_not_there().as_line()]


def _not_there() -> SessionError:
    return SessionError(
        "nothing was done",
        why="the process that holds the account is not logged in yet",
        fix="Try again when it is connected: xmpp-onion agent status",
    )
