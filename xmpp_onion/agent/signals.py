"""SIGTERM and Ctrl-C end a program once, in order, and cannot cut its end short."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["until_terminated"]


@asynccontextmanager
async def until_terminated() -> AsyncIterator[None]:
    """Run the block; SIGTERM ends it like its own end, Ctrl-C as an interrupt.

    What comes while the block is cleaning up is ignored, and Ctrl-C after it too: a
    second one would leave processes and files behind. For a program that ends with
    the block, and its main thread.

    Raises:
        KeyboardInterrupt: On Ctrl-C, after the block has cleaned up.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    received: signal.Signals | None = None

    def end(number: signal.Signals) -> None:
        nonlocal received
        if received is None:
            received = number
            task.cancel()

    before = signal.getsignal(signal.SIGINT)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    try:
        yield
        await asyncio.sleep(0)  # a cancellation that came last strikes here
    except asyncio.CancelledError:
        if received is None:
            raise
        task.uncancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        # Who was told to end is on the way out: nothing more to interrupt.
        signal.signal(signal.SIGINT, before if received is None else signal.SIG_IGN)
    if received is signal.SIGINT:
        raise KeyboardInterrupt
