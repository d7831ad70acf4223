"""Sockets of this machine alone: they have a place in a folder, and no address.

Apart from the door to Tor, so that a command that only asks a process of this user
need not load what speaks to Tor.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = [
    "dial_local",
    "listen_local",
    "open_local",
    "open_streams",
    "peer_process",
    "peer_user",
    "short_path",
    "tell_local",
]

# unix(7): sun_path has 108 bytes, the last of them is the final NUL.
_UNIX_PATH_LIMIT: Final = 107
# Seconds between two tries at a local listener whose queue is full.
_BUSY_PAUSE: Final = 0.01
# unix(7): struct ucred, the ids of process, user and group.
_UCRED: Final = struct.Struct("3i")


def listen_local(path: Path, *, group: int | None = None) -> socket.socket:
    """Return a socket that listens at ``path`` for this user alone.

    Its folder must be this user's alone already; the path may be of any length.

    Args:
        path: Where.
        group: A group id whose members may connect as well.

    Raises:
        OSError: It cannot be made there; something of that name may exist.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(0)
        with short_path(path) as name:
            sock.bind(name)
            if group is None:
                path.chmod(0o600)
            else:
                os.chown(path, -1, group)
                path.chmod(0o660)
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


def tell_local(path: str, text: str) -> None:
    """Send one datagram to a service on this machine, such as systemd.

    Args:
        path: Of its socket; with ``@`` in front, a name in Linux's abstract space.
        text: What to say.

    Raises:
        OSError: Nobody listens there, or not to us.
    """
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0)
        sock.sendto(text.encode(), address)


async def dial_local(path: Path, *, timeout: float = 5.0) -> socket.socket:
    """Connect to a socket of our own on this machine, and return it non-blocking.

    The path may be longer than the 107 bytes that the system allows.

    Raises:
        FileNotFoundError: There is no such socket.
        ConnectionRefusedError: Nobody listens there any more.
        PermissionError: It belongs to somebody else.
        TimeoutError: Not connected in ``timeout`` seconds.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(0)
        with short_path(path) as name:
            async with asyncio.timeout(timeout):
                await _connect_local(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_local(sock: socket.socket, name: str) -> None:
    while True:
        await asyncio.get_running_loop().sock_connect(sock, name)
        try:
            sock.getpeername()
        except OSError:
            # The listener's queue is full (EAGAIN), which asyncio takes for a
            # connection under way: it is none. Ask again.
            await asyncio.sleep(_BUSY_PAUSE)
        else:
            return


async def open_local(
    path: Path, *, limit_bytes: int, timeout: float = 5.0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a socket of our own, as ``dial_local()`` does, for reading lines.

    Args:
        path: The socket.
        limit_bytes: The longest line.
        timeout: Seconds for connecting.
    """
    sock = await dial_local(path, timeout=timeout)
    return await open_streams(sock, limit_bytes=limit_bytes)


async def open_streams(
    sock: socket.socket, *, limit_bytes: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return streams over a connected socket of ours; they close it.

    Args:
        sock: To whoever is at the other end.
        limit_bytes: The longest line.
    """
    try:
        return await asyncio.open_unix_connection(  # noqa: TID251 - no network
            sock=sock, limit=limit_bytes
        )
    except BaseException:
        sock.close()
        raise


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a name of ``path`` that fits into a socket address."""
    if len(os.fsencode(path)) <= _UNIX_PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def peer_user(sock: socket.socket) -> int | None:
    """Return the user id of who is at the other end; None if the system is silent."""
    credentials = _credentials(sock)
    return None if credentials is None else credentials[1]


def peer_process(sock: socket.socket) -> int | None:
    """Return the process id of who connected; None if the system is silent.

    It is 0 for a process that this one cannot see, as of another container.
    """
    credentials = _credentials(sock)
    return None if credentials is None else credentials[0]


def _credentials(sock: socket.socket) -> tuple[int, int, int] | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    process, user, group = _UCRED.unpack(raw)
    return process, user, group
