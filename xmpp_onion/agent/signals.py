"""SIGTERM ends a program as cleanly as Ctrl-C does."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["until_terminated"]


@asynccontextmanager
async def until_terminated() -> AsyncIterator[None]:
    """Run the block; SIGTERM ends it like its own end, without an error."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        yield
    except asyncio.CancelledError:
        if not terminated:
            raise
        task.uncancel()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
