"""A stand-in for Tor between servers: names lead to ports of this machine.

A server that federates dials other onions through a SOCKS port. This one knows where
they are, remembers who asked for what, and refuses in any way that a proxy can::

    async with SocksHub() as hub:
        hub.routes[str(peer.onion)] = peer.s2s_port
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from xmpp_onion.testing.socks_server import (
    FAILED,
    ONION_NOT_FOUND,
    RefusedError,
    Request,
    read_request,
    reply,
)

__all__ = ["Manner", "SocksHub"]

_CHUNK_BYTES: Final = 65536
_PATIENCE: Final = 60.0  # seconds; what did not come by then does not


@dataclass(frozen=True, slots=True)
class Manner:
    """How the hub answers to a CONNECT.

    Attributes:
        answer: The bytes of the answer; None: it says nothing and keeps the
            connection.
        is_bytewise: Whether they come one at a time.
        leads_on: Whether the connection leads to the peer behind the answer; else it
            is closed there.
    """

    answer: bytes | None = reply(0)
    is_bytewise: bool = False
    leads_on: bool = True

    @classmethod
    def refusal(cls, code: int) -> Self:
        """Return how Tor refuses with a code."""
        return cls(reply(code), leads_on=False)


@dataclass(slots=True)
class SocksHub:
    """A SOCKS5 server that leads names to local ports, within ``async with``.

    Attributes:
        routes: Onions, and where each is on 127.0.0.1; what is below a name is there
            as well, as with Tor.
        doors: Ports of an onion that are elsewhere than its others.
        manners: How to answer for an onion; the default is to lead there.
        script: Manners for the next CONNECTs, whoever is asked for; they come first.
        asked: Each CONNECT, in order.
        greetings: How many connections came.
        port: Where it listens on 127.0.0.1; 0 takes a free one.
    """

    routes: dict[str, int] = field(default_factory=dict)
    doors: dict[tuple[str, int], int] = field(default_factory=dict)
    manners: dict[str, Manner] = field(default_factory=dict)
    script: list[Manner] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    greetings: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _lost: set[asyncio.StreamWriter] = field(default_factory=set)
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _has_news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.go_away()

    async def come_back(self) -> None:
        """Listen, on the port of before if there was one."""
        self._flows.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._server, self.port = server, server.sockets[0].getsockname()[1]

    async def go_away(self) -> None:
        """Stop listening and break all connections, as a Tor that ends does."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self.cut()
        self._flows.set()
        async with self._has_news:
            await self._has_news.wait_for(lambda: not self._open)
        await server.wait_closed()

    def cut(self) -> None:
        """Break all connections, as lost circuits do."""
        for writer in self._open:
            writer.transport.abort()

    def hold(self) -> None:
        """Carry nothing from now on, and break nothing: a partition of the network."""
        self._lost = set(self._open)
        self._flows.clear()

    def let_go(self) -> None:
        """Carry again. What was open when it began is lost, as circuits are."""
        for writer in self._lost:
            writer.transport.abort()
        self._flows.set()

    async def has_asked(self, count: int) -> None:
        """Return when so many CONNECTs came."""
        async with asyncio.timeout(_PATIENCE), self._has_news:
            await self._has_news.wait_for(lambda: len(self.asked) >= count)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.greetings += 1
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, RefusedError):
                request = await read_request(reader, writer)
                self.asked.append(request)
                await self._tell()
                await self._lead(request, reader, writer)
        finally:
            writer.close()
            self._open.discard(writer)
            await self._tell()

    async def _tell(self) -> None:
        async with self._has_news:
            self._has_news.notify_all()

    async def _lead(
        self,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        onion = ".".join(request.host.split(".")[-2:])
        port = self.doors.get((onion, request.port), self.routes.get(onion))
        default = Manner() if port else Manner.refusal(ONION_NOT_FOUND)
        manner = self.script.pop(0) if self.script else self.manners.get(onion, default)
        if manner.answer is None:
            await reader.read()  # until they go
            return
        if not manner.leads_on or port is None:
            await _say(writer, manner)
            return
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # nobody listens: what Tor says of a service like that
            await _say(writer, Manner.refusal(FAILED))
            return
        self._open.add(ours)
        try:
            await _say(writer, manner)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pipe(reader, ours))
                tasks.create_task(self._pipe(theirs, writer))
        finally:
            ours.close()
            self._open.discard(ours)

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry bytes on; Tor has no half-close, so an end ends both ways."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


async def _say(writer: asyncio.StreamWriter, manner: Manner) -> None:
    answer = manner.answer or b""
    pieces = [bytes([byte]) for byte in answer] if manner.is_bytewise else [answer]
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        # Nagle is off, and the reader gets each piece by itself.
        await asyncio.sleep(0.002 if manner.is_bytewise else 0)
