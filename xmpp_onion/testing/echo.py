"""A service on loopback that says what it is told."""

import asyncio
from types import TracebackType
from typing import Self

from xmpp_onion.testing.torrc import LOOPBACK

__all__ = ["EchoService"]

_CHUNK_BYTES = 65_536


class EchoService:
    """Answer each byte with itself, on as many connections as come."""

    def __init__(self) -> None:
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, LOOPBACK, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        try:
            while data := await reader.read(_CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
        except OSError:
            return  # whoever asked is gone
        finally:
            self._open.discard(writer)
            writer.close()
