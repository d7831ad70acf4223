"""Where Prometheus, or curl, asks how a bot is: a unix socket of this user's alone.

There is no TCP, and nothing but these numbers: whatever is asked for, this is the
answer. ``curl --unix-socket PATH http://bot/metrics``.
"""

import asyncio
import logging
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from xmpp_onion import private
from xmpp_onion.errors import ConfigurationError
from xmpp_onion.transport import listen_local

__all__ = ["serve_health"]

log = logging.getLogger(__name__)

# A request of Prometheus has a few hundred bytes, and comes at once.
_REQUEST_BYTES: Final = 8 * 1024
_SECONDS: Final = 10.0
# Who asks more often than this at once waits.
_AT_ONCE: Final = 4


@asynccontextmanager
async def serve_health(
    path: Path, tell: Callable[[], Awaitable[str]]
) -> AsyncIterator[None]:
    """Answer at ``path`` while the block runs.

    Args:
        path: Where; its folder is made, and has to be this user's alone.
        tell: Returns what is to be told.

    Raises:
        ConfigurationError: Something else than a socket is there.
        StorePermissionError: Others can reach the folder.
    """
    private.make_folder(path.parent)
    _clear(path)
    slots = asyncio.Semaphore(_AT_ONCE)
    answers: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as tasks:

        def connected(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            task = tasks.create_task(_answer(reader, writer, tell, slots))
            answers.add(task)
            task.add_done_callback(answers.discard)

        server = await asyncio.start_unix_server(
            connected, sock=listen_local(path), limit=_REQUEST_BYTES
        )
        try:
            yield
        finally:
            server.close()
            _clear(path)
            for task in answers:
                task.cancel()


def _clear(path: Path) -> None:
    """Take away what a process that died has left; the account is ours by now."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(
            f"there is something else at {path}",
            why="a bot was to tell there how it is",
            fix="Choose another bot.health_socket.",
        )
    path.unlink()


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    tell: Callable[[], Awaitable[str]],
    slots: asyncio.Semaphore,
) -> None:
    """Answer one request; whatever comes in, the bot goes on."""
    try:
        async with asyncio.timeout(_SECONDS), slots:
            await reader.readuntil(b"\r\n\r\n")
            body = (await tell()).encode()
            head = (
                "HTTP/1.1 200 OK\r\n"
                "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
    except Exception as error:  # noqa: BLE001 - nobody who asks may end the bot
        log.info("a question for its health ended early: %s", type(error).__name__)
    finally:
        writer.close()
