"""The holder's side: log in, and answer what other processes of this user ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from xmpp_onion import private
from xmpp_onion.account import Account
from xmpp_onion.agent import (
    checks,
    files,
    keys,
    outcomes,
    people,
    rehearsal,
    rooms,
    sending,
    timers,
    tokens,
)
from xmpp_onion.agent.caller import socket_path
from xmpp_onion.agent.hatch import Share, admit
from xmpp_onion.agent.reception import receive
from xmpp_onion.agent.spooler import Spooler
from xmpp_onion.agent.standing import Standing
from xmpp_onion.agent.tor import find_tor
from xmpp_onion.chat import Line
from xmpp_onion.client import LOGIN_TIMEOUT, Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.store import check_free
from xmpp_onion.transport import Tor

__all__ = ["hold", "perform", "serve"]


@asynccontextmanager
async def hold(
    account: Account,
    *,
    socks: str | None = None,
    control: str | None = None,
    trust: Trust | None = None,
    login_timeout: float | None = LOGIN_TIMEOUT,
    watch: Callable[[Tor], Awaitable[None]] | None = None,
    stop: asyncio.Event | None = None,
    share: Share | None = None,
) -> AsyncIterator[Client]:
    """Log in, serve the profile's socket, and yield the client.

    Args:
        account: Who we are.
        socks: Tor's SOCKS port; by default a running Tor, else a child of our own.
        control: Its control port.
        trust: Instead of the account's policy.
        login_timeout: Seconds that the login may take; None waits for ever.
        watch: Awaited before the login: shows how Tor gets into its network, or
            gives it up.
        stop: As of `serve`.
        share: As of `serve`.

    Raises:
        StoreLockedError: Another process holds the account.
        XmppOnionError: As ``Tor`` and ``Client``.
    """
    check_free(account.store_path)  # before a Tor is started for nothing
    folder = account.folder / "tor"
    async with find_tor(folder, socks=socks, control=control) as tor:
        if watch is not None:
            await watch(tor)
        async with (
            Client(
                account, tor=tor, trust=trust, login_timeout=login_timeout
            ) as client,
            serve(client, stop=stop, share=share),
        ):
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
    path = socket_path(client.account.folder)
    private.check_folder(path.parent)
    spooler = Spooler(client)
    standing = Standing(client, datetime.now(UTC), spooler, stop)

    async def answer(request: Line, tell: Callable[[Line], None]) -> list[Line]:
        told = await standing.answer(request)
        return await perform(client, request, tell) if told is None else told

    async def answer_stranger(request: Line, _: Callable[[Line], None]) -> list[Line]:
        try:
            return await perform(client, await admit(client.tokens, request))
        except XmppOnionError as error:
            return [error.as_line()]

    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(tasks.create_task(spooler.run()).cancel)
        # The account's lock is ours, so whatever lies there is of a process that died.
        await stack.enter_async_context(receive(path, answer))
        if share is not None:
            await stack.enter_async_context(
                receive(share.path, answer_stranger, group=share.group)
            )
        yield


async def perform(
    client: Client, request: Line, tell: Callable[[Line], None] = lambda _line: None
) -> list[Line]:
    """Do what ``request`` asks for and return the lines that tell about it.

    What goes wrong is a line with the event ``error``, too: it has to travel.

    Args:
        client: Who does it.
        request: ``{"do": name, …}``; the names are the keys of ``_REQUESTS`` and of
            ``files.REQUESTS``.
        tell: Called meanwhile with lines that say how far it is.
    """
    name = str(request.get("do"))
    do, carry = _REQUESTS.get(name), files.REQUESTS.get(name)
    needed = _FIELDS.get(do) if carry is None else files.FIELDS[carry]
    if needed is None or not needed <= request.keys():
        return [
            XmppOnionError(
                "the process that holds the account does not know this request",
                fix="Use the same version of xmpp-onion for both.",
            ).as_line()
        ]
    try:
        if carry is not None:
            return await carry(client, request, tell)
        return [] if do is None else await do(client, request)
    except XmppOnionError as error:
        return [error.as_line()]


_REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    **sending.REQUESTS,
    **rehearsal.REQUESTS,
    **keys.REQUESTS,
    **people.REQUESTS,
    **rooms.REQUESTS,
    **checks.REQUESTS,
    **timers.REQUESTS,
    **outcomes.REQUESTS,
    **tokens.REQUESTS,
}
# What each of them cannot do without.
_FIELDS: Mapping[object, frozenset[str]] = {
    **sending.FIELDS,
    **rehearsal.FIELDS,
    **keys.FIELDS,
    **people.FIELDS,
    **rooms.FIELDS,
    **checks.FIELDS,
    **timers.FIELDS,
    **outcomes.FIELDS,
    **tokens.FIELDS,
}
