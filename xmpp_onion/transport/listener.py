"""A local socket at which we take in who comes, with pauses in which nobody is lost.

asyncio's own server closes its socket when it stops; this one can stop and go on, here
or in another process that was given the socket: who comes meanwhile waits in the
kernel's line.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self, TypeAlias

from xmpp_onion.transport.local import listen_local

__all__ = ["Listener", "Peer"]

log = logging.getLogger(__name__)

Peer: TypeAlias = socket.socket
"""Somebody who came; whoever is given it closes it."""

# Who is taken in at once; the loop's other work comes between.
_BURST: Final = 32
# Seconds before another try when the system has no descriptor left for who comes.
_PAUSE: Final = 1.0


class Listener:
    """Takes in who connects to a local socket.

    Args:
        sock: It listens already, and does not block.
        path: Where it is bound.
    """

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self.path = path
        self._sock = sock
        self._place = _identity(path)
        self._take: Callable[[Peer], None] | None = None

    @classmethod
    def at(cls, path: Path, *, group: int | None = None) -> Self:
        """Listen at ``path``; what lies there is of a process that died.

        Args:
            path: Where; its folder is this user's alone, or nobody else may write to
                it.
            group: A group id whose members may connect as well.

        Raises:
            OSError: It cannot be made there.
        """
        path.unlink(missing_ok=True)
        return cls(listen_local(path, group=group), path)

    @property
    def socket(self) -> socket.socket:
        """The socket, to be given to another process."""
        return self._sock

    @property
    def is_in_place(self) -> bool:
        """Whether its path still leads to it, and not to one that another has made."""
        return self._place is not None and _identity(self.path) == self._place

    def start(self, take: Callable[[Peer], None]) -> None:
        """Take in who comes, and who waits: ``take`` is called with each."""
        self._take = take
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._accept)

    def pause(self) -> None:
        """Take in nobody; a second time does nothing."""
        if self._take is not None:
            self._take = None
            asyncio.get_running_loop().remove_reader(self._sock.fileno())

    def close(self) -> None:
        """Close it here; another process that has it goes on."""
        if self._sock.fileno() >= 0:
            self.pause()
            self._sock.close()

    def remove(self) -> None:
        """Take its name away, if it is still its own, so that nobody comes any more."""
        if self.is_in_place:
            self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        for _ in range(_BURST):
            if self._take is None:
                return
            try:
                peer, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(error)
                return
            peer.settimeout(0)
            self._take(peer)

    def _rest(self, error: OSError) -> None:
        """Try again later: somebody still waits, and we would be told so at once."""
        log.warning("nobody can be taken in: %s", error.strerror)
        loop, take = asyncio.get_running_loop(), self._take
        loop.remove_reader(self._sock.fileno())

        def go_on() -> None:
            if take is not None and self._take is take:
                self.start(take)

        loop.call_later(_PAUSE, go_on)


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        return status.st_dev, status.st_ino
    return None
