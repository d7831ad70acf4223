"""The holder's side: log in, and answer what other processes of this user ask."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from xmpp_onion import private
from xmpp_onion.account import Account
from xmpp_onion.agent import checks, files, keys, people, rooms, timers
from xmpp_onion.agent.caller import END, LINE_LIMIT_BYTES, socket_path
from xmpp_onion.agent.tor import find_tor
from xmpp_onion.chat import DeliveryState, Line, line
from xmpp_onion.client import LOGIN_TIMEOUT, Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.outgoing import ACK_TIMEOUT
from xmpp_onion.store import Database
from xmpp_onion.transport import Tor, listen_local

__all__ = ["hold", "perform", "serve"]

log = logging.getLogger(__name__)


@asynccontextmanager
async def hold(
    account: Account,
    *,
    socks: str | None = None,
    control: str | None = None,
    trust: Trust | None = None,
    login_timeout: float | None = LOGIN_TIMEOUT,
    watch: Callable[[Tor], Awaitable[None]] | None = None,
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

    Raises:
        StoreLockedError: Another process holds the account.
        XmppOnionError: As ``Tor`` and ``Client``.
    """
    Database.check_free(account.store_path)  # before a Tor is started for nothing
    folder = account.folder / "tor"
    async with find_tor(folder, socks=socks, control=control) as tor:
        if watch is not None:
            await watch(tor)
        async with (
            Client(
                account, tor=tor, trust=trust, login_timeout=login_timeout
            ) as client,
            serve(client),
        ):
            yield client


@asynccontextmanager
async def serve(client: Client) -> AsyncIterator[None]:
    """Answer requests of this user's other processes while the block runs."""
    path = socket_path(client.account.folder)
    private.check_folder(path.parent)
    # The account's lock is ours, so whatever lies there is of a process that died.
    path.unlink(missing_ok=True)
    answers: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as tasks:

        def connected(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            task = tasks.create_task(_answer(client, reader, writer))
            answers.add(task)
            task.add_done_callback(answers.discard)

        server = await asyncio.start_unix_server(
            connected, sock=listen_local(path), limit=LINE_LIMIT_BYTES
        )
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)
            for task in answers:
                task.cancel()


async def _answer(
    client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request; whatever comes in, the holder goes on."""
    try:
        request = json.loads(await reader.readline())
        if not isinstance(request, dict):
            return

        def tell(answer: Line) -> None:
            writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")

        for answer in [*await perform(client, request, tell), END]:
            tell(answer)
            await writer.drain()
    except Exception as error:  # noqa: BLE001 - no request may end the holder
        log.info("a request ended early: %s", type(error).__name__)
    finally:
        writer.close()


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


async def _send(client: Client, request: Line) -> list[Line]:
    """Send to all at once; one line each, in the order asked for."""
    to, text, wait = request["to"], str(request["text"]), request.get("wait")
    timeout = request.get("timeout")
    seconds = float(timeout) if isinstance(timeout, int | float) else ACK_TIMEOUT
    target, expires = str(request.get("correct") or ""), files.expires(request)
    named = request.get("mentions")
    mentions = [str(each) for each in named] if isinstance(named, list) else []

    async def one(recipient: str) -> Line:
        try:
            if wait == "none":
                return line(await client.queue(recipient, text, expires=expires))
            if target:
                delivery = await client.correct(
                    recipient, target, text, expires=expires, timeout=seconds
                )
            else:
                delivery = await client.send(
                    recipient,
                    text,
                    mentions=mentions,
                    expires=expires,
                    timeout=seconds,
                )
            if wait == "receipt":
                received = DeliveryState.RECEIVED
                delivery = await client.wait(delivery.id, received, timeout=seconds)
            return line(delivery)
        except XmppOnionError as error:
            return {**error.as_line(), "to": recipient}

    recipients = [str(each) for each in to] if isinstance(to, list) else []
    return list(await asyncio.gather(*(one(each) for each in recipients)))


async def _react(client: Client, request: Line) -> list[Line]:
    """Say what we feel about a message; nothing any more without an emoji."""
    timeout, emojis = request.get("timeout"), request["emojis"]
    delivery = await client.react(
        str(request["to"]),
        str(request["id"]),
        *(map(str, emojis) if isinstance(emojis, list) else ()),
        timeout=float(timeout) if isinstance(timeout, int | float) else ACK_TIMEOUT,
    )
    return [line(delivery)]


_REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "send": _send,
    "react": _react,
    **keys.REQUESTS,
    **people.REQUESTS,
    **rooms.REQUESTS,
    **checks.REQUESTS,
    **timers.REQUESTS,
}
# What each of them cannot do without.
_FIELDS: Mapping[object, frozenset[str]] = {
    _send: frozenset({"to", "text"}),
    _react: frozenset({"to", "id", "emojis"}),
    **keys.FIELDS,
    **people.FIELDS,
    **rooms.FIELDS,
    **checks.FIELDS,
    **timers.FIELDS,
}
