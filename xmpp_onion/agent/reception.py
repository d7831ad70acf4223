"""Who is let in at a socket of the holder, how many at once, and for how long.

One request is one line of JSON; the answer is lines, the last of them ``END``.
Whatever a caller does, the holder and the other callers go on.
"""

import asyncio
import json
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

from xmpp_onion.agent.caller import END, LINE_LIMIT_BYTES
from xmpp_onion.chat import Line
from xmpp_onion.errors import SessionError
from xmpp_onion.transport import listen_local, peer_user

__all__ = ["CALLERS", "Answer", "Told", "receive"]

log = logging.getLogger(__name__)

Told: TypeAlias = Callable[[Line], None]
"""Gets lines that say how far it is, before the answer."""
Answer: TypeAlias = Callable[[Line, Told], Awaitable[list[Line]]]
"""Does what one line asks for, and returns the lines of the answer."""

CALLERS: Final = 128
"""Connections at once; each may make us hold a line of 1 MiB."""
# Requests that are worked on at once; the others wait, first come, first served.
_AT_WORK: Final = 32
# Of one user at a socket that others may reach: nobody takes all places.
_OF_ONE_USER: Final = 16
# Seconds for the line of a request to come, and for a line of its answer to be read:
# a program of this machine needs milliseconds.
_PATIENCE: Final = 10.0


@asynccontextmanager
async def receive(
    path: Path, answer: Answer, *, group: int | None = None, patience: float = _PATIENCE
) -> AsyncIterator[None]:
    """Answer requests at a socket while the block runs.

    Args:
        path: Where; what lies there is of a process that died.
        answer: Returns the lines of an answer; calls what it gets with lines that
            say how far it is.
        group: A group whose users may ask as well; None for this user alone.
        patience: Seconds that a caller may keep us waiting.
    """
    _clear(path)
    room = _Room(answer, patience, is_shared=group is not None)
    async with asyncio.TaskGroup() as tasks:

        def connected(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            room.let_in(tasks, reader, writer)

        server = await asyncio.start_unix_server(
            connected, sock=listen_local(path, group=group), limit=LINE_LIMIT_BYTES
        )
        try:
            yield
        finally:
            server.close()
            _clear(path)
            room.clear()


class _Room:
    """The callers that are in.

    Args:
        answer: As of `receive`.
        patience: As of `receive`.
        is_shared: Whether users other than ours may come.
    """

    def __init__(self, answer: Answer, patience: float, *, is_shared: bool) -> None:
        self._answer = answer
        self._patience = patience
        self._is_shared = is_shared
        self._tasks: set[asyncio.Task[None]] = set()
        self._of_user: Counter[int] = Counter()
        self._work = asyncio.Semaphore(_AT_WORK)

    def let_in(
        self,
        tasks: asyncio.TaskGroup,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Take up a connection, or close it."""
        user = peer_user(writer.get_extra_info("socket"))
        if user is None:
            user = os.geteuid()  # the mode of the socket has to do
        is_ours = user in {os.geteuid(), 0}
        if not is_ours and not self._is_shared:
            log.warning("user %d asks at a socket that is not theirs", user)
            writer.close()
            return
        if len(self._tasks) >= CALLERS or (
            self._is_shared and self._of_user[user] >= _OF_ONE_USER
        ):
            _write(writer, _too_many())
            _write(writer, END)
            writer.close()
            return
        self._of_user[user] += 1
        task = tasks.create_task(self._meet(reader, writer))
        self._tasks.add(task)

        def left(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._of_user[user] -= 1

        task.add_done_callback(left)

    def clear(self) -> None:
        """Send away everybody."""
        for task in self._tasks:
            task.cancel()

    async def _meet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request; whatever comes in, the holder goes on."""
        try:
            async with asyncio.timeout(self._patience):
                request = json.loads(await reader.readline())
            if not isinstance(request, dict):
                return
            async with self._work:
                lines = await self._answer(
                    request, lambda line: self._tell(writer, line)
                )
            for line in [*lines, END]:
                _write(writer, line)
                async with asyncio.timeout(self._patience):
                    await writer.drain()
        except Exception as error:  # noqa: BLE001 - no request may end the holder
            log.info("a request ended early: %s", type(error).__name__)
            writer.transport.abort()  # whoever does not read leaves nothing behind
        finally:
            writer.close()

    def _tell(self, writer: asyncio.StreamWriter, line: Line) -> None:
        """Say how far it is, to a caller who reads it."""
        if writer.transport.get_write_buffer_size() < LINE_LIMIT_BYTES:
            _write(writer, line)


def _clear(path: Path) -> None:
    path.unlink(missing_ok=True)


def _write(writer: asyncio.StreamWriter, line: Line) -> None:
    writer.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _too_many() -> Line:
    return SessionError(
        "nothing was done",
        why="too many ask the process that holds the account at once",
        fix="Ask again in a moment.",
    ).as_line()
