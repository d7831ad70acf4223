"""What Prosody wrote into its log: the end of it, or what is new; and no more of it."""

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from xmpp_onion.errors import XmppOnionError
from xmpp_onion.server.console import ask

__all__ = [
    "LOG_LIMIT_BYTES",
    "LogReader",
    "keep_short",
    "older",
    "put_aside",
    "read_tail",
]

log = logging.getLogger(__name__)

LOG_LIMIT_BYTES = 1024 * 1024
"""What a log may have, and once more what was put aside: weeks of warnings, or the
last minutes of a flood."""
# Seconds between two looks at the logs. A Prosody that does nothing but log writes some
# 10 MB a second; a full disk is minutes away then, and not one look.
_PAUSE = 5.0

_TAIL_BYTES = 4096
_TAIL_LINES = 20
# A log that grows faster than this between two looks is read from its end.
_NEW_BYTES = 64 * 1024


def read_tail(path: Path) -> str:
    """Return the last lines of a file that somebody else writes; empty without one."""
    try:
        with _open(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


async def put_aside(data: Path, name: str) -> None:
    """Let Prosody begin its log anew if it is too long; one older is kept, no more.

    Not a line is lost: until Prosody opens the new file it writes into the old one.

    Args:
        data: Prosody's data folder.
        name: Of the log in it, with the ending ``.log``.

    Raises:
        ServerError: Prosody does not answer; the next time comes.
    """
    path = data / name
    try:
        status = path.lstat()
    except FileNotFoundError:
        pass  # put aside already, and Prosody did not answer
    else:
        if not stat.S_ISREG(status.st_mode) or status.st_size <= LOG_LIMIT_BYTES:
            return
        path.replace(older(path))
    await ask(data, 'prosody.reopen_logfiles() return ""')


def older(path: Path) -> Path:
    """Return where a log is that was put aside."""
    return path.with_suffix(".old.log")


async def keep_short(
    *logs: Callable[[], None], put_aside: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Look after logs until this is cancelled.

    Args:
        logs: Each shortens one.
        put_aside: Lets Prosody begin its own anew.
    """
    while True:
        await asyncio.sleep(_PAUSE)
        try:
            for shorten in logs:
                shorten()
            if put_aside is not None:
                await put_aside()
        except (XmppOnionError, OSError) as error:
            log.info("a log was not shortened: %s", type(error).__name__)


class LogReader:
    """Reads what is added to a log from now on.

    Args:
        path: The log; it may be missing, and be put aside and begun anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = (0, 0)  # which file, and how far it was read
        self.read_new()

    def read_new(self) -> list[str]:
        """Return the whole lines that were added; the last ones if they are many."""
        try:
            with _open(self._path) as file:
                return self._read(file)
        except OSError:
            return []

    def _read(self, file: BinaryIO) -> list[str]:
        status = os.fstat(file.fileno())
        number, begin = self._place
        if status.st_ino != number or status.st_size < begin:
            begin = 0
        begin = max(begin, status.st_size - _NEW_BYTES)
        file.seek(begin)
        whole, newline, _ = file.read(_NEW_BYTES).rpartition(b"\n")
        self._place = (status.st_ino, begin + len(whole) + len(newline))
        return whole.decode("utf-8", "replace").splitlines()


def _open(path: Path) -> BinaryIO:
    # Through no link and waiting for no pipe: root reads where another user writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError("not a regular file")
    return file
