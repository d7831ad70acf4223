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

from xmpp_onion.agent.caller import AGAIN, END, LINE_LIMIT_BYTES
from xmpp_onion.chat import Line
from xmpp_onion.errors import SessionError
from xmpp_onion.transport import Listener, Peer, open_streams, peer_user

__all__ = ["CALLERS", "Answer", "Reception", "Told", "Visit", "receive"]

log = logging.getLogger(__name__)

Told: TypeAlias = Callable[[Line], None]
"""Gets lines that say how far it is, before the answer."""
Answer: TypeAlias = Callable[[Line, Told], Awaitable[list[Line]]]
"""Does what one line asks for, and returns the lines of the answer."""
Visit: TypeAlias = Callable[[Line, Peer], bool]
"""Takes up a request that is more than a question, such as one for the account; it
keeps the connection then, and returns whether it did."""

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
) -> AsyncIterator["Reception"]:
    """Answer requests at a socket while the block runs.

    Args:
        path: Where; what lies there is of a process that died.
        answer: Returns the lines of an answer; calls what it gets with lines that
            say how far it is.
        group: A group whose users may ask as well; None for this user alone.
        patience: Seconds that a caller may keep us waiting.
    """
    listener = Listener.at(path, group=group)
    async with asyncio.TaskGroup() as tasks:
        reception = Reception(
            listener, answer, tasks, is_shared=group is not None, patience=patience
        )
        reception.open()
        try:
            yield reception
        finally:
            listener.remove()
            reception.close()


class Reception:
    """The callers that are in at one socket.

    Args:
        listener: Where they come in; closed by :meth:`close`.
        answer: As of `receive`.
        tasks: Where they are answered.
        is_shared: Whether users other than ours may come.
        visit: Is asked about each request first; None for nobody.
        patience: As of `receive`.
    """

    def __init__(
        self,
        listener: Listener,
        answer: Answer,
        tasks: asyncio.TaskGroup,
        *,
        is_shared: bool = False,
        visit: Visit | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self.listener = listener
        self._answer = answer
        self._group = tasks
        self._is_shared = is_shared
        self._visit = visit
        self._patience = patience
        self._tasks: set[asyncio.Task[None]] = set()
        self._unmet: set[Peer] = set()  # their tasks have not begun
        self._of_user: Counter[int] = Counter()
        self._work = asyncio.Semaphore(_AT_WORK)
        self._is_open = False
        self._begun = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def open(self) -> None:
        """Let people in, also after :meth:`pause`."""
        self._is_open = True
        self.listener.start(self.let_in)

    def pause(self) -> None:
        """Begin nothing more: who comes waits, and who is in shall ask again."""
        self._is_open = False
        self.listener.pause()

    async def drain(self) -> None:
        """Wait until everything that was begun is done, and its answer read."""
        await self._idle.wait()

    def close(self) -> None:
        """Send away everybody."""
        self._is_open = False
        self.listener.close()
        for task in self._tasks:
            task.cancel()

    def let_in(self, peer: Peer) -> None:
        """Take up a connection, or close it."""
        user = peer_user(peer)
        if user is None:
            user = os.geteuid()  # the mode of the socket has to do
        is_ours = user in {os.geteuid(), 0}
        if not is_ours and not self._is_shared:
            log.warning("user %d asks at a socket that is not theirs", user)
            peer.close()
            return
        is_full = len(self._tasks) >= CALLERS or (
            self._is_shared and self._of_user[user] >= _OF_ONE_USER
        )
        if is_full:
            self._group.create_task(_refuse(peer))
            return
        self._of_user[user] += 1
        self._unmet.add(peer)
        task = self._group.create_task(self._meet(peer))
        self._tasks.add(task)

        def left(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._of_user[user] -= 1
            if peer in self._unmet:  # the task was cancelled before it began
                self._unmet.discard(peer)
                peer.close()

        task.add_done_callback(left)

    async def _meet(self, peer: Peer) -> None:
        """Answer one request; whatever comes in, the holder goes on."""
        self._unmet.discard(peer)
        reader, writer = await open_streams(peer, limit_bytes=LINE_LIMIT_BYTES)
        try:
            async with asyncio.timeout(self._patience):
                request = json.loads(await reader.readline())
            if isinstance(request, dict):
                await self._attend(request, writer, peer)
        except Exception as error:  # noqa: BLE001 - no request may end the holder
            log.info("a request ended early: %s", type(error).__name__)
            writer.transport.abort()  # whoever does not read leaves nothing behind
        finally:
            writer.close()

    async def _attend(
        self, request: Line, writer: asyncio.StreamWriter, peer: Peer
    ) -> None:
        """Answer a request; it is begun until its caller has read the answer."""
        self._begun += 1
        self._idle.clear()
        try:
            lines = await self._do(request, writer, peer)
            for line in lines or []:
                writer.write(_encoded(line))
                async with asyncio.timeout(self._patience):
                    await writer.drain()
        finally:
            self._begun -= 1
            if not self._begun:
                self._idle.set()

    async def _do(
        self, request: Line, writer: asyncio.StreamWriter, peer: Peer
    ) -> list[Line] | None:
        """Return what is answered to a request; None if somebody keeps its caller."""
        async with self._work:
            if not self._is_open:
                return [AGAIN, END]
            if self._visit is not None and self._visit(request, peer):
                return None
            lines = await self._answer(request, lambda line: _tell(writer, line))
            return [*lines, END]


def _tell(writer: asyncio.StreamWriter, line: Line) -> None:
    """Say how far it is, to a caller who reads it."""
    if writer.transport.get_write_buffer_size() < LINE_LIMIT_BYTES:
        writer.write(_encoded(line))


def _encoded(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


async def _refuse(peer: Peer) -> None:
    """Tell somebody that there is no room; who does not read it is not waited for."""
    _, writer = await open_streams(peer, limit_bytes=LINE_LIMIT_BYTES)
    error = SessionError(
        "nothing was done",
        why="too many ask the process that holds the account at once",
        fix="Ask again in a moment.",
    )
    writer.write(_encoded(error.as_line()) + _encoded(END))
    writer.close()
