"""A socket that takes in who comes, with pauses: nobody is lost in one."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from xmpp_onion.transport import listener as listeners
from xmpp_onion.transport.listener import Listener, Peer
from xmpp_onion.transport.local import dial_local, open_streams


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    path = tmp_path / "sock"
    path.touch()  # of a process that was killed
    made = Listener.at(path)
    yield made
    made.socket.close()


async def test_who_comes_in_a_pause_is_taken_in_after_it(listener: Listener) -> None:
    came: asyncio.Queue[Peer] = asyncio.Queue()
    listener.start(came.put_nowait)
    with await dial_local(listener.path), await came.get():
        listener.pause()
        with await dial_local(listener.path):
            await asyncio.sleep(0.05)
            assert came.empty()
            listener.start(came.put_nowait)
            async with asyncio.timeout(60):
                (await came.get()).close()
    listener.close()
    listener.close()


async def test_a_crowd_is_taken_in_bit_by_bit_and_all_of_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "_BURST", 2)
    crowd = [await dial_local(listener.path) for _ in range(7)]
    came: asyncio.Queue[Peer] = asyncio.Queue()
    listener.start(came.put_nowait)
    async with asyncio.timeout(60):
        for _ in crowd:
            (await came.get()).close()
    for each in crowd:
        each.close()
    listener.close()


async def test_without_a_descriptor_left_it_is_tried_again_later(
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listeners, "_PAUSE", 0.01)
    fails = [True]
    real = listener.socket

    class Short(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            if fails:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    listener._sock = Short(fileno=real.detach())
    listener._sock.settimeout(0)
    came: asyncio.Queue[Peer] = asyncio.Queue()
    with await dial_local(listener.path), caplog.at_level(logging.WARNING):
        listener.start(came.put_nowait)
        async with asyncio.timeout(60):
            while len(caplog.records) < 3:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            fails.clear()
            (await came.get()).close()
    listener.close()
    assert "Too many open files" in caplog.text


async def test_its_name_is_taken_away_unless_another_has_it(
    listener: Listener,
) -> None:
    assert listener.is_in_place
    listener.path.unlink()
    assert not listener.is_in_place
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(listener.path))
        listener.remove()
        assert listener.path.exists()
        assert not listener.is_in_place


async def test_somebody_who_came_is_read_in_lines(listener: Listener) -> None:
    came: asyncio.Queue[Peer] = asyncio.Queue()
    listener.start(came.put_nowait)
    with await dial_local(listener.path) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, b"hello\n")
        reader, writer = await open_streams(await came.get(), limit_bytes=100)
        assert await reader.readline() == b"hello\n"
        writer.close()
    listener.close()
