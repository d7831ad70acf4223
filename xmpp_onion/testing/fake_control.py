"""A scripted control port on loopback: a real far end for tests of control.

Source: Tor's control-spec.
"""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from xmpp_onion.transport.dial import Endpoint

__all__ = ["FakeControl"]

_PROTOCOLINFO = (
    "250-PROTOCOLINFO 1",
    '250-AUTH METHODS={methods} COOKIEFILE="{cookie}"',
    '250-VERSION Tor="0.4.9.11"',
    "250 OK",
)


class FakeControl:
    """A control port that answers from a table, within ``async with``.

    Args:
        methods: The ways of authentication that it offers, as Tor names them.
        cookie: Where it says that its cookie is.

    Attributes:
        answers: The lines of the answer by the first word of the command; None
            never answers. Commands that are not in it get ``250 OK``.
        asked: The commands as they came.
    """

    def __init__(
        self, methods: str = "NULL", cookie: Path | str = "/nonexistent"
    ) -> None:
        self.answers: dict[str, tuple[str, ...] | None] = {
            "PROTOCOLINFO": tuple(
                line.format(methods=methods, cookie=cookie) for line in _PROTOCOLINFO
            )
        }
        self.asked: list[str] = []
        self._refusals: dict[str, str] = {}
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._has_ended = asyncio.Event()

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

    def _entered(self) -> asyncio.Server:
        if self._server is None:
            raise RuntimeError("enter it first: async with FakeControl() as control")
        return self._server

    @property
    def place(self) -> Endpoint:
        """Where it listens."""
        host, port = self._entered().sockets[0].getsockname()
        return Endpoint(host, port)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while line := (await reader.readline()).decode().strip():
                self.asked.append(line)
                verb = line.split()[0]
                answer = self.answers.get(verb, ("250 OK",))
                if refusal := self._refusals.pop(verb, None):
                    answer = (refusal,)
                if answer is not None:  # None: never answers
                    self.say(*answer)
        except ConnectionError:
            pass  # the client has gone
        finally:
            writer.close()
            self._writers.remove(writer)
            self._has_ended.set()

    def refuse_once(self, verb: str, line: str) -> None:
        """Answer the next command of a kind with one line; later ones as before."""
        self._refusals[verb] = line

    def say(self, *lines: str) -> None:
        """Send lines, unasked for if you like: events, or rubbish."""
        text = "".join(f"{line}\r\n" for line in lines)
        self._writers[-1].write(text.encode(errors="surrogateescape"))

    def hang_up(self) -> None:
        """Close the latest connection, as a Tor that ends."""
        self._writers[-1].close()
