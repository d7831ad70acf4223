"""Sockets of this machine: long paths, full queues, and who is at the other end."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from xmpp_onion.transport.local import (
    dial_local,
    listen_local,
    open_local,
    peer_user,
)

Leftovers = Callable[[], Awaitable[tuple[int, int]]]


@contextlib.asynccontextmanager
async def _listener(path: Path) -> AsyncIterator[socket.socket]:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path.name)
        sock.listen(1)
        yield sock


async def test_a_socket_under_a_long_path_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    async with _listener(folder / "agent.sock"):
        with await dial_local(folder / "agent.sock") as sock:
            assert sock.getblocking() is False


async def test_lines_can_be_read_from_a_local_socket(tmp_path: Path) -> None:
    async with _listener(tmp_path / "agent.sock") as listener:
        reader, writer = await open_local(tmp_path / "agent.sock", limit_bytes=100)
        with listener.accept()[0] as peer:
            peer.sendall(b"hello\n")
            line = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert line == b"hello\n"


async def test_a_missing_local_socket_is_told(
    tmp_path: Path, leftovers: Leftovers
) -> None:
    with pytest.raises(FileNotFoundError):
        await dial_local(tmp_path / "agent.sock")
    assert await leftovers() == (0, 0)


async def test_a_local_socket_without_listener_is_told(
    tmp_path: Path, leftovers: Leftovers
) -> None:
    async with _listener(tmp_path / "agent.sock"):
        pass

    with pytest.raises(ConnectionRefusedError):
        await dial_local(tmp_path / "agent.sock")
    assert await leftovers() == (0, 0)


async def test_a_full_queue_is_not_taken_for_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with _listener(path), contextlib.AsyncExitStack() as stack:
        for _ in range(2):  # a backlog of one takes two
            stack.enter_context(await dial_local(path))

        with pytest.raises(TimeoutError):
            await dial_local(path, timeout=0.2)


async def test_a_socket_is_for_this_user_alone_or_for_a_group(tmp_path: Path) -> None:
    with listen_local(tmp_path / "own"):
        assert (tmp_path / "own").stat().st_mode & 0o777 == 0o600
    with listen_local(tmp_path / "shared", group=os.getegid()):
        status = (tmp_path / "shared").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o660, os.getegid())


async def test_the_other_end_has_a_user(tmp_path: Path) -> None:
    async with _listener(tmp_path / "agent.sock") as listener:
        with await dial_local(tmp_path / "agent.sock") as sock:
            assert peer_user(sock) == os.geteuid()
            with listener.accept()[0] as peer:
                assert peer_user(peer) == os.geteuid()
