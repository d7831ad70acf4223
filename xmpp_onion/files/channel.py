"""Bytes to and from an onion service: as they are, or in TLS.

An onion's name is its key, and the circuit ends there: TLS inside of it proves
nothing, and no certificate is looked at. Others' clients do not store a file without
it, so that is how theirs have to be fetched.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol, Self, TypeVar

from xmpp_onion.address import OnionAddress

__all__ = ["Channel", "Connection", "Plain", "Tls"]

_READ_BYTES: Final = 128 * 1024
_Done = TypeVar("_Done")


class Connection(Protocol):
    """A connected, non-blocking socket, as asyncio takes it."""

    def close(self) -> None:
        """Let go of it."""


class Channel(Protocol):
    """A way to send bytes and to get some."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""

    async def receive(self) -> bytes:
        """Return what came; nothing at the end."""

    def receive_now(self) -> bytes | None:
        """Return what came; nothing at the end, and None if there is nothing yet."""

    def close(self) -> None:
        """Let go of the connection."""


class Plain:
    """Bytes as they are.

    Args:
        sock: From ``dial()``; closed with this.
    """

    def __init__(self, sock: Connection) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await self._loop.sock_sendall(self._sock, data)  # type: ignore[arg-type]  # a socket in all but name

    async def receive(self) -> bytes:
        """Return what came; nothing at the end."""
        return await self._loop.sock_recv(self._sock, _READ_BYTES)  # type: ignore[arg-type]  # a socket in all but name

    def receive_now(self) -> bytes | None:
        """Return what came; nothing at the end, and None if there is nothing yet."""
        try:
            data: bytes = self._sock.recv(_READ_BYTES)  # type: ignore[attr-defined]  # a socket in all but name
        except BlockingIOError:
            return None
        return data

    def close(self) -> None:
        """Let go of the connection."""
        self._sock.close()


class Tls:
    """Bytes in TLS, over a connection to an onion service.

    Args:
        below: What carries it.
        host: The service, for a server with several certificates.
    """

    def __init__(self, below: Channel, host: OnionAddress) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the circuit knows where it ends
        self._below = below
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=host)

    @classmethod
    async def begin(cls, below: Channel, host: OnionAddress) -> Self:
        """Return it when both ends have agreed; one round trip.

        Raises:
            OSError: They do not, or the connection broke.
        """
        channel = cls(below, host)
        await channel._run(channel._tls.do_handshake)
        return channel

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        left = memoryview(data)
        while left:
            left = left[await self._run(lambda part=left: self._tls.write(part)) :]  # type: ignore[misc]  # mypy knows no type for what a lambda binds

    async def receive(self) -> bytes:
        """Return what came; nothing at the end."""
        try:
            return await self._run(lambda: self._tls.read(_READ_BYTES))
        except ssl.SSLZeroReturnError:
            return b""

    def receive_now(self) -> bytes | None:
        """Return what came; nothing at the end, and None if there is nothing yet."""
        while True:
            try:
                return self._tls.read(_READ_BYTES)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                data = self._below.receive_now()
                if data is None:
                    return None
                self._feed(data)

    def close(self) -> None:
        """Let go of the connection. What is cut short is known by its length."""
        self._below.close()

    async def _run(self, step: Callable[[], _Done]) -> _Done:
        """Do what needs bytes of the other end, perhaps, until it is done."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._flush()
                self._feed(await self._below.receive())
            else:
                await self._flush()
                return done

    def _feed(self, data: bytes) -> None:
        if data:
            self._came.write(data)
        else:
            self._came.write_eof()

    async def _flush(self) -> None:
        if data := self._goes.read():
            await self._below.send(data)
