"""Takes what programs of this machine post, in HTTP on a unix socket.

No port is opened: who may connect is a matter of the file's rights. One request to a
connection, and nothing but ``POST``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import h11

from xmpp_onion.errors import XmppOnionError
from xmpp_onion.transport import listen_local

__all__ = ["Take", "receive_posts"]

log = logging.getLogger(__name__)

Take: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Gets the body of a request; it is answered when this returns."""

# A group of a thousand alerts has a few hundred kilobytes.
_BODY_LIMIT: Final = 1024 * 1024
_HEAD_LIMIT: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024
# Seconds for a request to come; who has it all sends it at once.
_PATIENCE: Final = 30.0
# Connections at once: who posts more waits for its turn.
_AT_ONCE: Final = 16


class _RefusedError(Exception):
    """A request gets no more than a status of HTTP."""

    def __init__(self, status: int) -> None:
        self.status = status


async def receive_posts(path: Path, take: Take, *, group: int | None = None) -> None:
    """Hand on what is posted, until cancelled.

    Answered is 200 when ``take`` returned; 400 when it raises ``ValueError``, after
    which nobody should try again; and 503 for an error of ours, after which they
    should. So what was answered with 200 is on the disk if ``take`` awaited
    ``bot.send()``.

    Args:
        path: The socket, in a folder that is this user's alone. One that is there is
            taken for what a process that died has left.
        take: Gets each body, of 1 MiB at most.
        group: A group id whose members may connect as well.

    Raises:
        OSError: There can be no socket.
    """
    await asyncio.to_thread(path.unlink, missing_ok=True)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with turns:
            try:
                await _serve(reader, writer, take)
            except (OSError, h11.ProtocolError):
                pass  # it went away, or speaks something else
            finally:
                writer.close()

    server = await asyncio.start_unix_server(
        connected, sock=listen_local(path, group=group)
    )
    try:
        async with server:
            await server.serve_forever()
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one call, while all ends


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Take
) -> None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT)
    try:
        async with asyncio.timeout(_PATIENCE):
            body = await _read(http, reader)
        status = await _hand_on(body, take)
    except _RefusedError as refused:
        status = refused.status
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
    except TimeoutError:
        status = 408
    head = [("Content-Length", "0"), ("Connection", "close")]
    answer = h11.Response(status_code=status, headers=head)
    writer.write((http.send(answer) or b"") + (http.send(h11.EndOfMessage()) or b""))
    await writer.drain()


async def _hand_on(body: bytes, take: Take) -> int:
    """Return the status that tells what became of it."""
    try:
        await take(body)
    except ValueError:
        return 400
    except XmppOnionError as error:
        log.warning("what was posted is refused for now: %s", error.what)
        return 503
    except Exception as error:  # noqa: BLE001 - one request must not end the rest
        log.error("what was posted broke its taker (%s)", type(error).__name__)  # noqa: TRY400 - a traceback may quote it
        return 500
    return 200


async def _read(http: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            if event.method != b"POST":
                raise _RefusedError(405)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _BODY_LIMIT:
                raise _RefusedError(413)
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        else:
            raise ConnectionResetError("it went away")
