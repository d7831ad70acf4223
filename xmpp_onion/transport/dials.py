"""The dials of a `Tor` that are under way, each in a thread, and their end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from xmpp_onion.transport.daemon import not_in_use

__all__ = ["Dials"]

# A dial holds a thread until it is answered; more than these wait their turn.
_AT_ONCE: Final = 64


class Dials:
    """The dials that are under way."""

    def __init__(self) -> None:
        self._pool: Executor | None = None
        self._running: set[asyncio.Timeout] = set()
        self._one_ended = asyncio.Event()

    def open(self) -> Executor:
        """Return threads, which `shut` ends."""
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tor-dial")
        return self._pool

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Executor]:
        """Let `end` end what runs inside; the threads are for it.

        Raises:
            TorNotRunningError: There are no threads, or it was ended.
        """
        if self._pool is None:
            raise not_in_use()
        try:
            async with asyncio.timeout(None) as scope:
                self._running.add(scope)
                try:
                    yield self._pool
                finally:
                    self._running.discard(scope)
                    self._one_ended.set()
        except TimeoutError:
            raise not_in_use() from None

    async def end(self) -> None:
        """End those that run, and return when they have."""
        now = asyncio.get_running_loop().time()
        while self._running:
            self._one_ended.clear()
            for scope in self._running:
                if not scope.expired():
                    scope.reschedule(now)
            await self._one_ended.wait()

    def shut(self) -> None:
        """End the threads."""
        if self._pool is not None:
            # Waiting for a thread that only the loop can wake would be for ever.
            self._pool.shutdown(wait=not self._running, cancel_futures=True)
