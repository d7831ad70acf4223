"""A pool as `Tor` has one, what is left over, and a scripted control port."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from xmpp_onion.transport.dial import Endpoint

PROTOCOLINFO = (
    "250-PROTOCOLINFO 1",
    '250-AUTH METHODS={methods} COOKIEFILE="{cookie}"',
    '250-VERSION Tor="0.4.9.11"',
    "250 OK",
)


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(8, thread_name_prefix="tor-dial") as threads:
        yield threads


def _open_sockets() -> int:
    links = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return links


def _busy_threads() -> int:
    frames = sys._current_frames()
    return sum(
        frames[thread.ident].f_code.co_name != "_worker"
        for thread in threading.enumerate()
        if thread.name.startswith("tor-dial") and thread.ident in frames
    )


@pytest.fixture
async def leftovers() -> Callable[[], tuple[int, int]]:
    """Return a function: sockets opened since now, and threads at work.

    A coroutine, so that the event loop has its own sockets already.
    """
    before = _open_sockets()

    def count() -> tuple[int, int]:
        # A thread that has just handed over its result needs a moment to go idle;
        # one that waits for the network would wait for longer than this.
        for _ in range(100):
            if not _busy_threads():
                break
            time.sleep(0.001)
        return _open_sockets() - before, _busy_threads()

    return count


class FakeControl:
    """A control port that answers by a table; unknown commands get ``250 OK``."""

    def __init__(self, *, methods: str, cookie: Path | str) -> None:
        self.answers: dict[str, tuple[str, ...] | None] = {
            "PROTOCOLINFO": tuple(
                line.format(methods=methods, cookie=cookie) for line in PROTOCOLINFO
            )
        }
        self.asked: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.place = Endpoint("127.0.0.1", 0)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.writers.append(writer)
        while line := (await reader.readline()).decode().strip():
            self.asked.append(line)
            answer = self.answers.get(line.split()[0], ("250 OK",))
            if answer is not None:  # None: never answers
                self.say(*answer)
        writer.close()

    def say(self, *lines: str) -> None:
        self.writers[-1].write("".join(f"{line}\r\n" for line in lines).encode())

    def hang_up(self) -> None:
        self.writers[-1].close()


@asynccontextmanager
async def _fake_control(
    methods: str = "NULL", cookie: Path | str = "/nonexistent"
) -> AsyncIterator[FakeControl]:
    fake = FakeControl(methods=methods, cookie=cookie)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.place = Endpoint(*server.sockets[0].getsockname())
    try:
        yield fake
    finally:
        server.close()
        for writer in fake.writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0.01)  # let the handlers see the end


@pytest.fixture
def fake_control() -> Callable[..., AbstractAsyncContextManager[FakeControl]]:
    return _fake_control
