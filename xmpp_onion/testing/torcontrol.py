"""A connection to a tor's control port: the dozen verbs that a test network needs.

Source: Tor control protocol, sections 2.2 and 2.3.
"""

import asyncio
import contextlib
from collections import deque
from types import TracebackType
from typing import Self

from xmpp_onion.errors import TorError, TorNotRunningError
from xmpp_onion.testing.torrc import LOOPBACK

__all__ = ["ControlConnection"]

_EVENT = "650"


class ControlConnection:
    """Ask one thing after another, or wait for events; not both at once.

    Args:
        reader: What tor says; `open` makes one.
        writer: What it is asked.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._events: deque[str] = deque()

    @classmethod
    async def open(cls, port: int, cookie: bytes) -> Self:
        """Connect and authenticate.

        Args:
            port: On loopback.
            cookie: What stands in tor's file ``control_auth_cookie``: proof that
                we may read its data directory.

        Raises:
            OSError: Nothing listens.
            TorError: The cookie is not of this tor.
        """
        connection = cls(*await asyncio.open_connection(LOOPBACK, port))
        try:
            await connection.ask(f"AUTHENTICATE {cookie.hex()}")
        except BaseException:
            connection.close()
            raise
        return connection

    async def ask(self, command: str) -> list[str]:
        """Send a command and return the lines of tor's answer.

        Raises:
            TorError: Tor refuses it.
            TorNotRunningError: Tor is gone.
        """
        self._writer.write(command.encode() + b"\r\n")
        while True:
            status, lines = await self._reply()
            if status != _EVENT:
                break
            self._events.append(lines[0])
        if not status.startswith("2"):
            # The verb alone: what follows it may be a key.
            verb = command.partition(" ")[0]
            raise TorError(f"tor refuses {verb}", why=f"{status} {lines[0]}")
        return lines

    async def event(self) -> str:
        """Return the next event that ``SETEVENTS`` asked for."""
        while not self._events:
            status, lines = await self._reply()
            if status == _EVENT:
                self._events.append(lines[0])
        return self._events.popleft()

    async def _reply(self) -> tuple[str, list[str]]:
        lines: list[str] = []
        while True:
            line = await self._line()
            status, separator, text = line[:3], line[3:4], line[4:]
            lines.append(text)
            if separator == "+":
                while (data := await self._line()) != ".":
                    lines.append(data)
            if separator == " ":
                return status, lines

    async def _line(self) -> str:
        try:
            raw = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, OSError) as error:
            raise TorNotRunningError(
                "tor has closed its control connection", why="it has ended"
            ) from error
        return raw.decode().rstrip("\r\n")

    def close(self) -> None:
        """Hang up. A tor that this connection owns ends with it."""
        self._writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
