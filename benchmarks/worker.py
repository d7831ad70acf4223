"""A process of its own that does what the one who measures says, in lines of JSON.

The one who measures enters a :class:`Worker`; the file that it starts calls
:func:`serve` when it is ready to work.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Self

__all__ = ["Worker", "serve"]


class Worker:
    """The other process; entering returns when it is ready.

    Args:
        command: What starts it, after the name of the Python that we are.
    """

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await self._next()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def ask(self, *words: str | float) -> dict[str, float]:
        """Have it do something, and return what it says of that."""
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(words) + "\n").encode())
        return await self._next()

    async def _next(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "a process that was to work died"
        told: dict[str, float] = json.loads(line)
        return told


async def serve(work: Callable[..., Awaitable[dict[str, float]]]) -> None:
    """Say that we are ready, and do what stdin says until it ends.

    Args:
        work: Is given the words of each line, and tells what it took.
    """
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    print("{}", flush=True)
    while line := await lines.readline():
        print(json.dumps(await work(*json.loads(line))), flush=True)
