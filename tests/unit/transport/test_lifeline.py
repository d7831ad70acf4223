"""A connection whose end says that a process ended, and what is given through it."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from xmpp_onion.transport.lifeline import Lifeline
from xmpp_onion.transport.listener import Listener
from xmpp_onion.transport.local import dial_local


def pair() -> tuple[Lifeline, Lifeline]:
    one, other = socket.socketpair()
    return Lifeline(one), Lifeline(other)


async def test_a_socket_goes_through_it_and_serves_at_the_other_end(
    tmp_path: Path,
) -> None:
    ours, theirs = pair()
    listener = Listener.at(tmp_path / "sock")
    await ours.send(b"here\n", [listener.socket])
    listener.close()
    with await dial_local(tmp_path / "sock") as waiting:  # it is closed nowhere
        data, (given,) = await theirs.receive(100)
        assert data == b"here\n"
        assert not given.get_inheritable()
        assert not given.getblocking()
        peer, _ = given.accept()
        with given, peer:
            peer.sendall(b"x")
            assert await asyncio.get_running_loop().sock_recv(waiting, 1) == b"x"
    ours.close()
    theirs.close()


@pytest.mark.parametrize("unread", [b"", b"unread"])
async def test_its_end_is_seen_also_where_something_was_not_read(unread: bytes) -> None:
    ours, theirs = pair()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waiting = tasks.create_task(ours.receive(100))
        await asyncio.sleep(0)
        assert not ours.is_closed
        if unread:
            await ours.send(unread)
        theirs.close()
    assert waiting.result() == (b"", [])
    assert ours.is_closed
    with pytest.raises(OSError, match="pipe"):
        await ours.send(b"x")
    ours.close()
    ours.close()


async def test_what_waits_to_be_read_is_not_taken_by_a_look() -> None:
    ours, theirs = pair()
    await theirs.send(b"stop")
    assert not ours.is_closed
    assert await ours.receive(2) == (b"st", [])
    assert await ours.receive(100) == (b"op", [])
    ours.close()
    theirs.close()


async def test_a_process_that_is_killed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        code = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX);"
            "s.connect(sys.argv[1]); sys.stdin.read()"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, path, stdin=asyncio.subprocess.PIPE
        )
        peer, _ = await asyncio.to_thread(listening.accept)
        lifeline = Lifeline.keep(peer)
        peer.close()
        assert not lifeline.is_closed
        process.kill()
        async with asyncio.timeout(60):
            assert await lifeline.receive(1) == (b"", [])
            await process.wait()
        lifeline.close()


async def test_who_is_dialed_gets_what_is_sent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        listening.listen()
        lifeline = await Lifeline.dial(tmp_path / "sock")
        peer, _ = listening.accept()
        with peer:
            await lifeline.send(b"x" * 10)
            assert peer.recv(100) == b"x" * 10
        lifeline.close()
