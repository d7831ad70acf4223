"""A scripted SOCKS5 server on loopback: a real far end for tests of dialing.

It answers with any reply code, in pieces, late or never. Whatever the script, it
insists on what Tor needs: the name arrives as a name, with credentials.

Source: RFC 1928 and RFC 1929.
"""

import asyncio
from enum import StrEnum
from types import TracebackType
from typing import Final, NamedTuple, Self

from xmpp_onion.transport.dial import Endpoint

__all__ = ["Act", "Asked", "FakeSocks"]

_NAME_TYPE: Final = 3
_BOUND_ADDRESS: Final = b"\x01" + bytes(6)  # IPv4 0.0.0.0, port 0: what Tor says


class Act(StrEnum):
    """What the server does when it has read the request."""

    ANSWER = "answers, then echoes what it gets"
    BYTEWISE = "answers one byte at a time, then echoes"
    DRIP = "answers at great length, one byte at a time, then echoes"
    SILENT = "reads and says nothing"
    CLOSE = "closes the connection"
    CLOSE_HALFWAY = "closes in the middle of its answer"
    MUTE = "accepts and says nothing from the first byte on"
    HANG_UP = "accepts and closes"
    GARBAGE = "speaks HTTP"
    OPEN = "wants no credentials, though they were offered"
    NO_METHOD = "accepts no way of authentication"
    WRONG_PASSWORD = "refuses the credentials"  # noqa: S105 - a description


class Asked(NamedTuple):
    """One request as it came.

    Attributes:
        host: The name.
        port: The virtual port.
        user: What Tor would isolate circuits by.
        password: The same.
    """

    host: str
    port: int
    user: str
    password: str


class FakeSocks:
    """A SOCKS5 server that follows a script, within ``async with``.

    Leaving the block raises AssertionError if a client sent an address instead
    of a name, or no credentials.

    Args:
        reply: The reply code; 0 is success.
        act: What to do instead of simply answering.
        pause: Seconds between two bytes where it sends single bytes.

    Attributes:
        early: What came behind a request that was not answered.
    """

    def __init__(
        self, reply: int = 0, *, act: Act = Act.ANSWER, pause: float = 0.0
    ) -> None:
        self.reply = reply
        self.act = act
        self.pause = pause
        self.asked: list[Asked] = []
        self.mistakes: list[str] = []
        self.connections = 0
        self.early = b""
        self._first: int | None = None
        self._is_waiting = asyncio.Event()
        self._has_ended = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        server = self._entered()
        server.close()
        while self._writers:
            self._has_ended.clear()
            for writer in self._writers:
                writer.transport.abort()
            await self._has_ended.wait()
        await server.wait_closed()
        if self.mistakes and error is None:
            raise AssertionError("; ".join(self.mistakes))

    @property
    def socks(self) -> Endpoint:
        """Where it listens."""
        host, port = self._entered().sockets[0].getsockname()
        return Endpoint(host, port)

    def _entered(self) -> asyncio.Server:
        if self._server is None:
            raise RuntimeError("enter it first: async with FakeSocks() as proxy")
        return self._server

    def refuse_once(self, reply: int) -> None:
        """Answer the next request with this reply code; later ones as before."""
        self._first = reply

    async def waiting(self) -> None:
        """Return when a client has got as far as the script lets it come."""
        await self._is_waiting.wait()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            if await self._greet(reader, writer) and await self._take(reader, writer):
                await self._respond(writer)
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            self._writers.discard(writer)
            self._has_ended.set()
            writer.close()

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Agree on the way of authentication; False ends the conversation."""
        if self.act is Act.HANG_UP:
            return False
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if version != 5 or 2 not in methods:
            self.mistakes.append("no credentials were offered")
        if self.act is Act.MUTE:
            await self._stall(reader)
            return False
        method = {Act.OPEN: 0, Act.NO_METHOD: 0xFF}.get(self.act, 2)
        greeting = bytes([5, method])
        await self._send(writer, b"HT" if self.act is Act.GARBAGE else greeting)
        return method != 0xFF

    async def _take(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Read credentials and request; False ends the conversation."""
        user = password = ""
        if self.act is not Act.OPEN:
            await reader.readexactly(1)
            user = await _text(reader)
            password = await _text(reader)
            if not (user and password):
                self.mistakes.append("empty credentials: Tor would share a circuit")
            is_refused = self.act is Act.WRONG_PASSWORD
            await self._send(writer, bytes([1, is_refused]))
            if is_refused:
                return False
        *_, kind = await reader.readexactly(4)
        if kind != _NAME_TYPE:
            self.mistakes.append("an address arrived: the name was resolved outside")
            return False
        host = await _text(reader)
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(Asked(host, port, user, password))
        if self.act is Act.SILENT:
            await self._stall(reader)
        return self.act not in {Act.SILENT, Act.CLOSE}

    async def _respond(self, writer: asyncio.StreamWriter) -> None:
        reply, self._first = self.reply if self._first is None else self._first, None
        answer = bytes([5, reply, 0]) + _BOUND_ADDRESS
        if self.act is Act.CLOSE_HALFWAY:
            writer.write(answer[:1])
            await writer.drain()
            raise ConnectionAbortedError
        if self.act is Act.DRIP:
            # The longest answer there is: the bound address is a name.
            self._is_waiting.set()
            answer = bytes([5, reply, 0, _NAME_TYPE, 255]) + bytes(257)
        await self._send(writer, answer)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.act not in {Act.BYTEWISE, Act.DRIP}:
            writer.write(data)
            return
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(self.pause)

    async def _stall(self, reader: asyncio.StreamReader) -> None:
        self._is_waiting.set()
        while data := await reader.read(65536):
            self.early += data


async def _text(reader: asyncio.StreamReader) -> str:
    (length,) = await reader.readexactly(1)
    return (await reader.readexactly(length)).decode()
