"""A pool as `Tor` has one, and a look at what is left over."""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

Leftovers = Callable[[], Awaitable[tuple[int, int]]]


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
async def leftovers() -> Leftovers:
    """Return a function: sockets opened since now, and threads at work.

    A coroutine, so that the event loop has its own sockets already.
    """
    before = _open_sockets()

    async def count() -> tuple[int, int]:
        # A thread that has just handed over its result, and the far end that is
        # just closing, need a moment. What waits for the network waits longer.
        for _ in range(100):
            if (_open_sockets(), _busy_threads()) == (before, 0):
                break
            await asyncio.sleep(0.001)
        return _open_sockets() - before, _busy_threads()

    return count
