"""A connection of two processes of this user whose end says that one of them ended.

The kernel closes it however a process ends. Sockets can be given through it: whoever
connects to one of them need not notice in which process he is answered (unix(7),
SCM_RIGHTS).
"""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from xmpp_onion.transport.listener import Peer
from xmpp_onion.transport.local import dial_local

__all__ = ["Lifeline"]

_SOCKETS: Final = 4
# Nothing that we start may inherit what comes; where the system cannot say so in the
# same call, Python's own sockets say it right after.
_FLAGS: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Lifeline:
    """One end of it.

    Args:
        sock: Connected; it is ours from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._sock = sock

    @classmethod
    async def dial(cls, path: Path) -> Self:
        """Connect to who listens at ``path``.

        Raises:
            OSError: Nobody does.
        """
        return cls(await dial_local(path))

    @classmethod
    def keep(cls, peer: Peer) -> Self:
        """Keep a connection open whose streams are about to be closed."""
        return cls(peer.dup())

    @property
    def is_closed(self) -> bool:
        """Whether the other end is known to be closed; what it sent stays unread."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            return True

    async def send(self, data: bytes, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a few bytes, and sockets with them, which stay open here as well.

        Raises:
            OSError: Nobody is at the other end any more.
        """
        sent = socket.send_fds(self._sock, [data], [each.fileno() for each in sockets])
        if rest := data[sent:]:
            await asyncio.get_running_loop().sock_sendall(self._sock, rest)

    async def receive(self, limit_bytes: int) -> tuple[bytes, list[socket.socket]]:
        """Return what comes next; nothing once the other end is closed."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._sock, limit_bytes, _SOCKETS, _FLAGS
                )
            except (BlockingIOError, InterruptedError):
                await self._until_readable()
            except ConnectionError:
                return b"", []
            else:
                return data, [_adopted(each) for each in descriptors]

    def close(self) -> None:
        """Close this end; a second time does nothing."""
        self._sock.close()

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        descriptor = self._sock.fileno()
        loop.add_reader(descriptor, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(descriptor)


def _adopted(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    sock.settimeout(0)
    return sock
