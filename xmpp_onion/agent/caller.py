"""The asking side: send one request to the process that holds the account.

Light: neither the XMPP nor the encryption libraries are loaded for it.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from xmpp_onion import private
from xmpp_onion.errors import SessionError
from xmpp_onion.transport.local import open_local

if TYPE_CHECKING:
    from xmpp_onion.chat import Line

__all__ = ["AGAIN", "END", "LINE_LIMIT_BYTES", "ask", "ask_at", "socket_path"]

# A message of 64 KiB in JSON escapes fits; more is no request of ours.
LINE_LIMIT_BYTES = 1024 * 1024
# The last line of every answer: what ends without it was cut short.
END: "Line" = {"v": 1, "event": "end"}
# Instead of an answer: nothing was done, for the account is going to another process.
AGAIN: "Line" = {"v": 1, "event": "again"}
# An account goes to and fro twice for one talk; who finds it on its way each time is
# sent in circles by a mistake.
_TRIES = 20


def socket_path(folder: Path) -> Path:
    """Return where the holder of the account in ``folder`` can be asked.

    Always in the account's own folder, which is this user's alone: nobody else can
    put a socket of his there and be told our messages.
    """
    return folder.absolute() / "agent.sock"


async def ask(folder: Path, request: "Line") -> AsyncIterator["Line"]:
    """Send ``request`` to the process that holds the account and yield its answer.

    What went wrong over there comes as a line with the event ``error``.

    Raises:
        OSError: No process holds it.
        StorePermissionError: Others can reach the folder; nothing was sent.
        SessionError: It ended before it answered.
    """
    path = socket_path(folder)
    private.check_folder(path.parent)
    async for line in ask_at(path, request):
        yield line


async def ask_at(path: Path, request: "Line") -> AsyncIterator["Line"]:
    """Do the same at a socket that is known to be the right one.

    While the account goes from one process to another, this waits at the socket.

    Raises:
        OSError: Nobody listens there.
        SessionError: Whoever does ended before it answered.
    """
    for _ in range(_TRIES):
        is_moving = False
        async for line in _ask_once(path, request):
            if line == AGAIN:
                is_moving = True
            else:
                yield line
        if not is_moving:
            return
    raise SessionError(
        "nothing was done",
        why="the account goes from one process to another, again and again",
        fix="See who has it: xmpp-onion agent status",
    )


async def _ask_once(path: Path, request: "Line") -> AsyncIterator["Line"]:
    reader, writer = await open_local(path, limit_bytes=LINE_LIMIT_BYTES)
    try:
        writer.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")
        await writer.drain()
        while (answer := json.loads(await reader.readline() or b"null")) != END:
            if answer is None:
                raise _cut_short()
            yield answer
    except ConnectionError as error:
        raise _cut_short() from error
    finally:
        writer.close()


def _cut_short() -> SessionError:
    # It may have done it: to ask again could send a message twice.
    return SessionError(
        "the process that holds the account ended while it was asked",
        fix="See what arrived before you try again.",
    )
