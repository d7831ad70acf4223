"""Connections as Tor makes them: the name of a circuit stands before each of them.

For tests of a server's limits and for measurements of them, on loopback.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xmpp_onion.address import OnionAddress

__all__ = ["Caller", "announcement", "call"]

_PATIENCE = 60.0


def announcement(circuit: int, virtual_port: int = 5222) -> bytes:
    """Return what Tor 0.4.9 writes before a connection of that circuit."""
    high, low = circuit >> 16, circuit & 0xFFFF
    address = f"fc00:dead:beef:4dad::{high:x}:{low:x}"
    return f"PROXY TCP6 {address} ::1 {low} {virtual_port}\r\n".encode()


class Caller:
    """One bare connection; all that comes is kept as text.

    Attributes:
        heard: What has come so far.

    Args:
        reader: What the server says.
        writer: What it hears.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.heard = ""

    def say(self, text: str) -> None:
        """Send text as it is."""
        self._writer.write(text.encode())

    def open(self, onion: OnionAddress) -> None:
        """Say the header of a stream."""
        self.say(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
            f"to='{onion}'>"
        )

    async def hear(self, wanted: str) -> str:
        """Return all that came once ``wanted`` is in it.

        Raises:
            AssertionError: The server closed the connection.
            TimeoutError: It did not come in time.
        """
        async with asyncio.timeout(_PATIENCE):
            while wanted not in self.heard:
                data = await self._reader.read(8192)
                if not data:
                    raise AssertionError(f"closed after: {self.heard[-500:]}")
                self.heard += data.decode()
        return self.heard

    async def ended_or(self, wanted: str) -> bool:
        """Return whether ``wanted`` came before the server closed it.

        Raises:
            TimeoutError: Neither happened in time.
        """
        try:
            await self.hear(wanted)
        except (AssertionError, ConnectionError):
            return False
        return True

    async def ended(self) -> str:
        """Wait until the server closed it, and return all that came."""
        async with asyncio.timeout(_PATIENCE):
            try:
                while data := await self._reader.read(8192):
                    self.heard += data.decode()
            except ConnectionError:
                pass
        return self.heard


@asynccontextmanager
async def call(port: int, first: bytes = b"") -> AsyncIterator[Caller]:
    """Connect to a port on loopback, and say ``first``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()
