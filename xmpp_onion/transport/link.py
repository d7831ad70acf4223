"""What a Tor consists of, seen from here, whether ours or found running."""

import asyncio.subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xmpp_onion.errors import TorError
from xmpp_onion.transport.control import Control
from xmpp_onion.transport.dial import Endpoint

__all__ = ["Link", "tail"]

_TAIL_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Link:
    """A Tor that can be used: its SOCKS listener and, if we were let in, more.

    Attributes:
        socks: Where to dial.
        control: The control connection, or None.
        no_control: Why there is none, if we were refused.
        reopen: Connects to the control port again, where the daemon may come back.
        process: The child process, if it is ours.
        log_file: Its log.
    """

    socks: Endpoint
    control: Control | None = None
    no_control: TorError | None = None
    reopen: Callable[[], AbstractAsyncContextManager[Control]] | None = None
    process: asyncio.subprocess.Process | None = None
    log_file: Path | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it was seen to end; a Tor without control port never is."""
        if self.process is not None and self.process.returncode is not None:
            return True
        return self.control is not None and self.control.has_ended

    def last_words(self) -> str:
        """Return the end of our child's log, or nothing."""
        return tail(self.log_file) if self.log_file else ""


def tail(log_file: Path) -> str:
    """Return the last lines of a log as one, or nothing if there is none."""
    try:
        lines = log_file.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join(lines[-_TAIL_LINES:])
