"""Who is measured: each logs in, says something and hears something, in its own way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.server import Prosody
from xmpp_onion.transport import Tor

__all__ = ["Enter", "Login", "Peer", "ours"]


class Peer(Protocol):
    """One logged-in account of a contestant."""

    async def say(self, to: str, text: str) -> None:
        """Encrypt and send."""

    async def say_to_all(self, recipients: Sequence[str], text: str) -> None:
        """Encrypt for each and send, as fast as the library lets an author."""

    async def pile_up(self, to: str, count: int) -> None:
        """Send so many texts, and return when the server has them."""

    async def hear(self) -> str:
        """Return the next decrypted text."""
        ...


class Login(NamedTuple):
    """What a contestant needs to log in.

    Attributes:
        jid: The account.
        password: Its password.
        socks: The way to the server.
        server: Which runs.
        folder: For what is kept between two logins.
        is_measured: Whether this is who is measured. A contestant that only shows how
            it does itself may leave the others to this library.
    """

    jid: JID
    password: str
    socks: str
    server: Prosody
    folder: Path
    is_measured: bool = False


Enter: TypeAlias = Callable[[Login], AbstractAsyncContextManager[Peer]]
"""Logs in; entering returns when the contestant can encrypt."""


class _Ours:
    """This library, as a `Peer`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._messages = client.messages()

    async def say(self, to: str, text: str) -> None:
        await self._client.send(to, text)

    async def say_to_all(self, recipients: Sequence[str], text: str) -> None:
        await asyncio.gather(*(self.say(to, text) for to in recipients))

    async def pile_up(self, to: str, count: int) -> None:
        for number in range(count - 1):
            await self._client.queue(to, f"text {number}")
        await self.say(to, "the last one")

    async def hear(self) -> str:
        return (await anext(self._messages)).text


@asynccontextmanager
async def ours(login: Login) -> AsyncIterator[Peer]:
    """Log in with this library."""
    account = Account(
        profile="benchmark",
        folder=login.folder,
        jid=login.jid,
        password=login.password,
        trust=Trust.BTBV,
        certificate=login.server.certificate_fingerprint,
    )
    async with Tor.attach(login.socks) as tor, Client(account, tor=tor) as client:
        yield _Ours(client)
