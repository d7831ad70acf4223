"""A SOCKS5 proxy between a program and Tor that delays, counts, cuts and stalls."""

import asyncio
import logging
import math
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Self

from xmpp_onion.testing import socks_server
from xmpp_onion.testing.socks_server import Request

__all__ = ["ChaosProxy", "Direction"]

log = logging.getLogger(__name__)

_CHUNK_BYTES = 65_536
_CHUNKS_IN_FLIGHT = 1024  # 64 MiB: more than any circuit holds at 500 ms

_PACKET_BYTES = 1448  # what TCP puts into a packet of Ethernet
_RETRANSMISSION_SECONDS = 0.2  # Linux' TCP_RTO_MIN; each further time it doubles
_MOST_LOSS = 0.5


class Direction(StrEnum):
    """Which way bytes go."""

    UP = "client to server"
    DOWN = "server to client"


class _Chunk(NamedTuple):
    """Bytes on their way."""

    data: bytes  # empty: the sender closed
    due: float  # loop time at which the far end gets it
    depth: int
    counted: bool = True  # False: a SOCKS reply, no application data


@dataclass(eq=False, slots=True)
class _Link:
    """One accepted connection: the two sockets and what is on the way between."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    task: asyncio.Task[None] | None = None
    swallowed: set[Direction] = field(default_factory=set)
    on_the_way: int = 0  # what was read and has not arrived; the CONNECT is one
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    queues: dict[Direction, asyncio.Queue[_Chunk]] = field(
        default_factory=lambda: {
            way: asyncio.Queue(_CHUNKS_IN_FLIGHT) for way in Direction
        }
    )

    def abort(self) -> None:
        """Drop both sockets now; what is on the way is lost."""
        self.ended.set()
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()
        if self.task is not None:
            self.task.cancel()

    def close(self) -> None:
        """Close both sockets; what a stuck end did not take is lost."""
        for writer in (self.client, self.server):
            if writer is not None and writer.transport.get_write_buffer_size():
                writer.transport.abort()
            elif writer is not None:
                writer.close()


class ChaosProxy:
    """A SOCKS5 server on loopback that makes the way to an onion long and bad.

    Point a program at :attr:`socks` in place of Tor's SOCKS port. Behind it is a
    real Tor (``upstream``), or, so that a measurement needs no Tor, a table of
    loopback ports (``routes``). Nothing is resolved here, and nothing but
    loopback or ``upstream`` is dialed. Half-closed streams end both ways, as
    they do in Tor.

    **Round trips** are counted as causal depth, on a virtual clock: no second is
    measured. Each end has a depth, 0 at first. A chunk that the client sends
    carries 1 + the depth of the client; a chunk of the server carries the depth
    of the server; a chunk that arrives raises the depth of the end that it
    reaches to its own, never lowers it. :attr:`round_trips` is the depth of the
    client: the longest chain of question and answer so far. The SOCKS CONNECT is
    such a question, and its reply the answer: 1. Data sent with it before the
    reply came (optimistic data) costs nothing more. Greeting and credentials
    are a matter between program and Tor on one machine: 0. All connections
    through one proxy share the two depths, so use a proxy for each program.

    What a program sends while an unrelated answer has just arrived counts as if
    that answer had caused it. With an ``rtt`` well above the program's own
    thinking time (200 ms, say) the count is exact and repeats; without delay it
    is exact for strict question and answer, and an upper bound otherwise.

    Args:
        upstream: SOCKS5 port of a Tor, ``HOST:PORT``; credentials and names go to
            it unchanged.
        routes: Instead: loopback port by onion name. Sub-domains reach the same
            port, upper case too, as with Tor; other names are refused as Tor
            refuses an onion without descriptor (0xF0).
        rtt: Seconds that are added to each round trip, half on each way. Order is
            kept.
        rate: Bytes that each way of a connection takes in a second; 0 for no limit.
        loss: The part of packets that get lost between two relays, up to a half.
            Tor's links are TCP: nothing is missing in the end, but what was lost
            comes as much later as TCP takes to send it again, and all that is
            behind it on its connection waits. Which ones is drawn anew each time,
            in the same order.

    Attributes:
        rtt: As above; a change holds for what is read from then on.
        rate: As above; a change holds for what is delivered from then on.
        loss: As above; a change holds for what is read from then on.
        lost: How many reads were late by that.
        requests: Each CONNECT, in order.
        bytes_up: Application bytes delivered to the server so far.
        bytes_down: Application bytes delivered to the client so far.

    Raises:
        ValueError: Both or neither of ``upstream`` and ``routes``, a negative
            ``rtt`` or ``rate``, or a ``loss`` outside of 0 to 0.5.
    """

    def __init__(
        self,
        upstream: str | None = None,
        *,
        routes: Mapping[str, int] | None = None,
        rtt: float = 0.0,
        rate: float = 0.0,
        loss: float = 0.0,
    ) -> None:
        if (upstream is None) == (routes is None):
            raise ValueError("give either upstream or routes")
        if rtt < 0:
            raise ValueError("rtt is a time in seconds and cannot be negative")
        if rate < 0:
            raise ValueError("rate is in bytes per second and cannot be negative")
        if not 0 <= loss <= _MOST_LOSS:
            raise ValueError(f"loss is a part of all packets, 0 to {_MOST_LOSS}")
        self.rtt = rtt
        self.rate = rate
        self.loss = loss
        self.lost = 0
        self.requests: list[Request] = []
        self.bytes_up = 0
        self.bytes_down = 0
        self._upstream = upstream
        self._routes = {} if routes is None else routes
        self._client_depth = 0
        self._server_depth = 0
        self._cut_in: int | None = None  # bytes until the armed cut
        self._chance = random.Random(0)  # noqa: S311 # a dice, and repeated
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[_Link] = set()
        self._stack = AsyncExitStack()
        self._port = 0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())

            def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                link = _Link(writer)
                self._links.add(link)
                link.task = group.create_task(self._serve(link, reader))

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            stack.callback(self.cut)
            stack.callback(server.close)
            self._port = server.sockets[0].getsockname()[1]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The group has nothing to learn from an error of the body, which thus comes
        # out as it is and not in an ExceptionGroup: cut() ends the tasks.
        await self._stack.aclose()

    @property
    def socks(self) -> str:
        """Where to point the program: ``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self._port}"

    @property
    def round_trips(self) -> int:
        """The longest chain of question and answer so far; see the class."""
        return self._client_depth

    @property
    def flights(self) -> int:
        """The depth of the server: one more while an answer is still on its way.

        A message that has just reached the server came with this flight.
        """
        return self._server_depth

    @property
    def connects(self) -> int:
        """How many CONNECTs were asked for."""
        return len(self.requests)

    @property
    def open_connections(self) -> int:
        """How many connections the proxy holds now."""
        return len(self._links)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on the way now."""
        return not any(link.on_the_way for link in self._links)

    def __repr__(self) -> str:
        return (
            f"<ChaosProxy {self.socks}, {self.open_connections} open, "
            f"{self.round_trips} round trips>"
        )

    # --- mischief -----------------------------------------------------------------

    def cut(self) -> None:
        """Drop all connections, as when a circuit dies; what is on the way is lost."""
        for link in self._links:
            link.abort()
        self._links.clear()

    def cut_after(self, size_bytes: int) -> None:
        """Let ``size_bytes`` more through, both ways together, then cut everything.

        Exact to the byte, so that a cut falls inside a stanza where you want it.
        Connections made after the cut live.
        """
        self._cut_in = size_bytes

    def stall(self) -> None:
        """Deliver nothing, and keep connections open, until :meth:`unstall`."""
        self._flowing.clear()

    def unstall(self) -> None:
        """Deliver what was held back, in order, and go on."""
        self._flowing.set()

    def swallow(self, direction: Direction) -> None:
        """Lose what goes ``direction`` on the connections that are open now.

        A connection never recovers from it, since bytes are missing from its
        middle; new connections are whole.
        """
        for link in self._links:
            link.swallowed.add(direction)

    # --- one connection -------------------------------------------------------------

    async def _serve(self, link: _Link, reader: asyncio.StreamReader) -> None:
        try:
            with suppress(OSError, EOFError, socks_server.RefusedError):
                request = await socks_server.read_request(reader, link.client)
                self.requests.append(request)
                await self._carry(link, reader, request)
        finally:
            self._links.discard(link)
            link.close()

    async def _carry(
        self, link: _Link, reader: asyncio.StreamReader, request: Request
    ) -> None:
        async with asyncio.TaskGroup() as legs:
            # The program may send before the reply: read from the first moment on.
            tasks = [
                legs.create_task(self._read(link, Direction.UP, reader)),
                legs.create_task(self._write(link, Direction.DOWN, link.client)),
                legs.create_task(self._connect(link, request, legs)),
            ]
            await link.ended.wait()
            for task in tasks:
                task.cancel()

    async def _connect(
        self, link: _Link, request: Request, legs: asyncio.TaskGroup
    ) -> None:
        """Dial what was asked for, send the SOCKS reply, and carry the rest."""
        depth = self._client_depth + 1
        link.on_the_way += 1  # until the SOCKS reply has arrived
        await self._wait_until(self._due())
        self._arrive(Direction.UP, depth)
        reader, reply = None, socks_server.SUCCEEDED
        try:
            reader, link.server = await self._dial(request)
        except socks_server.RefusedError as refused:
            reply = refused.reply
        except (OSError, EOFError):
            log.debug("the far end of the proxy does not answer")
            reply = socks_server.FAILED
        down = link.queues[Direction.DOWN]
        chunk = _Chunk(
            socks_server.reply(reply), self._due(), self._server_depth, counted=False
        )
        await down.put(chunk)
        if reader is None or link.server is None:
            await down.put(chunk._replace(data=b""))
            return
        pair = (
            legs.create_task(self._read(link, Direction.DOWN, reader)),
            legs.create_task(self._write(link, Direction.UP, link.server)),
        )
        try:
            await link.ended.wait()
        finally:
            for task in pair:
                task.cancel()

    async def _dial(
        self, request: Request
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream is not None:
            return await socks_server.dial_upstream(self._upstream, request)
        onion = ".".join(request.host.lower().split(".")[-2:])
        if onion not in self._routes:
            raise socks_server.RefusedError(socks_server.ONION_NOT_FOUND)
        return await asyncio.open_connection("127.0.0.1", self._routes[onion])

    async def _read(
        self, link: _Link, way: Direction, reader: asyncio.StreamReader
    ) -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(_CHUNK_BYTES)
            except OSError:
                data = b""  # a reset reaches the far end as a close, as in Tor
            if not data and link.server is None:
                link.ended.set()  # the program gave up before it was connected
            depth = self._server_depth
            if way is Direction.UP:
                depth = self._client_depth + 1
            link.on_the_way += bool(data)
            due = self._due() + self._late_by(len(data))
            await link.queues[way].put(_Chunk(data, due, depth))

    async def _write(
        self, link: _Link, way: Direction, writer: asyncio.StreamWriter
    ) -> None:
        writer.transport.set_write_buffer_limits(high=0)  # drain() then means sent
        try:
            while not link.ended.is_set():
                chunk = await link.queues[way].get()
                await self._wait_until(chunk.due)
                if not chunk.data:
                    return
                for piece in self._pieces(chunk.data):
                    await asyncio.sleep(len(piece) / self.rate if self.rate else 0)
                    await self._flowing.wait()
                    if way not in link.swallowed:
                        await self._deliver(way, chunk._replace(data=piece), writer)
                link.on_the_way -= 1
        except OSError:
            log.debug("one end closed while data was on the way to it")
        finally:
            link.ended.set()

    def _pieces(self, data: bytes) -> list[bytes]:
        """Return what arrives at once: on a slow way, what it takes in 0.1 s."""
        if not self.rate:
            return [data]
        size = max(1, round(self.rate / 10))
        return [data[start : start + size] for start in range(0, len(data), size)]

    async def _deliver(
        self, way: Direction, chunk: _Chunk, writer: asyncio.StreamWriter
    ) -> None:
        data = chunk.data
        if chunk.counted and self._cut_in is not None:
            data = data[: self._cut_in]
            self._cut_in -= len(data)
        self._arrive(way, chunk.depth, len(data) if chunk.counted else 0)
        writer.write(data)
        await writer.drain()
        if self._cut_in == 0:
            self._cut_in = None
            self.cut()

    # --- the clocks ---------------------------------------------------------------

    def _due(self) -> float:
        return asyncio.get_running_loop().time() + self.rtt / 2

    def _late_by(self, size_bytes: int) -> float:
        """Return for how many seconds TCP sends some of these bytes again."""
        packets = math.ceil(size_bytes / _PACKET_BYTES)
        late, again = 0.0, _RETRANSMISSION_SECONDS
        while self._chance.random() < 1 - (1 - self.loss) ** packets:
            late, again, packets = late + again, again * 2, 1
        self.lost += late > 0
        return late

    async def _wait_until(self, due: float) -> None:
        delay = due - asyncio.get_running_loop().time()
        if delay > 0:
            await asyncio.sleep(delay)
        await self._flowing.wait()

    def _arrive(self, way: Direction, depth: int, size_bytes: int = 0) -> None:
        if way is Direction.UP:
            self._server_depth = max(self._server_depth, depth)
            self.bytes_up += size_bytes
        else:
            self._client_depth = max(self._client_depth, depth)
            self.bytes_down += size_bytes
