"""An HTTP server on loopback that answers exactly what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Place
from xmpp_onion.testing.loopback import LoopbackDialer

__all__ = ["ONION", "PLACE", "Answer", "Server", "listening", "ok", "part", "serving"]

ONION = OnionAddress.from_public_key(bytes(32))
"""A name that nobody has the key of."""
PLACE = Place(ONION, 5280, "/share/object")
"""What is asked for."""

Answer: TypeAlias = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What is sent back as it is, or what sends it."""


@dataclass(slots=True)
class Server:
    """What it was asked, and the way to it.

    Attributes:
        requests: Heads that came, in their order.
        bodies: What came with each of them.
        dialer: Leads every onion here.
    """

    dialer: LoopbackDialer
    requests: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


Handle: TypeAlias = Callable[
    ["Server", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]
]
"""Has a connection until it returns; that the other end has gone ends it, too."""


@asynccontextmanager
async def listening(handle: Handle) -> AsyncIterator[Server]:
    """Hand over each connection that comes, and close it afterwards."""
    server = Server(LoopbackDialer(0))

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await handle(server, reader, writer)
        except* (OSError, EOFError):
            pass  # who was there has gone
        finally:
            writer.close()

    socket = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.dialer.port = socket.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        server.dialer.cut()
        socket.close()
        await socket.wait_closed()


@asynccontextmanager
async def serving(answers: Sequence[Answer]) -> AsyncIterator[Server]:
    """Answer one request after the other; the last answer is given for ever."""
    left = list(answers)

    async def handle(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            server.requests.append(head)
            server.bodies.append(await reader.readexactly(announced(head)))
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, bytes):
                writer.write(answer)
            else:
                await answer(writer)
            await writer.drain()
            if b"keep-alive" not in (answer if isinstance(answer, bytes) else b""):
                return

    async with listening(handle) as server:
        yield server


def announced(head: bytes) -> int:
    """Return the Content-Length of a request."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def ok(body: bytes, *headers: str, status: str = "200 OK", length: int = -1) -> bytes:
    """Return a whole answer; ``length`` may lie."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body) if length < 0 else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def part(body: bytes, start: int, total: int, *, said: str = "") -> bytes:
    """Return what answers a question for a range."""
    content_range = said or f"bytes {start}-{total - 1}/{total}"
    return ok(body, f"Content-Range: {content_range}", status="206 Partial Content")
