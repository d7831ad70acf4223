"""A pool as `Tor` has one, and a look at what is left over."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest


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


class Leftovers:
    """What was opened since this was made, and is not gone when it has had its time.

    A thread that has just handed over its result, and the far end that is just
    closing, need a moment, and a long one where others have the processor.
    """

    def __init__(self) -> None:
        self._before = _open_sockets()

    async def __call__(self, *, sockets: int = 0) -> tuple[int, int]:
        """Return how many sockets are open, and how many threads at work.

        Args:
            sockets: So many may be.
        """
        deadline = asyncio.get_running_loop().time() + 60
        while True:
            left = max(_open_sockets() - self._before, 0), _busy_threads()
            is_over = asyncio.get_running_loop().time() > deadline
            if is_over or (left[0] <= sockets and not left[1]):
                return left
            await asyncio.sleep(0.001)


@pytest.fixture
async def leftovers() -> Leftovers:
    """Return what counts them.

    A coroutine, so that the event loop has its own sockets already.
    """
    return Leftovers()
