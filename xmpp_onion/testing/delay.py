"""A TCP port that answers late: distance, on a machine that has none."""

import asyncio
import contextlib
from collections import deque
from types import TracebackType
from typing import Self

from xmpp_onion.testing.torrc import LOOPBACK

__all__ = ["DelayedPort"]

_CHUNK_BYTES = 65_536


class DelayedPort:
    """Forward a loopback port to another, each byte ``delay`` late, both ways.

    It runs in the event loop of whoever opens it: a blocked loop is a stalled
    network.

    Args:
        port: Where it listens.
        target: Where it forwards to; need not listen yet.
        delay: One way, in seconds.
    """

    def __init__(self, port: int, target: int, *, delay: float) -> None:
        self._port = port
        self._target = target
        self._delay = delay
        self._connections = asyncio.TaskGroup()
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._port)
        await self._connections.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await self._connections.__aexit__(None, None, None)

    def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = self._connections.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self._connect(reader, writer)
        finally:
            writer.close()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            far = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:
            return  # a killed relay: the caller sees the connection close
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far[1]))
                group.create_task(self._pump(far[0], writer))
        finally:
            far[1].close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        on_the_way: deque[bytes] = deque()
        loop = asyncio.get_running_loop()

        def arrive() -> None:
            # The queue keeps the order; two timers of one instant might not.
            chunk = on_the_way.popleft()
            if not writer.is_closing():
                writer.write(chunk)

        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                on_the_way.append(chunk)
                loop.call_later(self._delay, arrive)
                await writer.drain()
        await asyncio.sleep(self._delay)  # what is on the way arrives first
        with contextlib.suppress(OSError):  # the other side has gone already
            writer.write_eof()
