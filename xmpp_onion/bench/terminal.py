"""A program on a terminal: what is typed there, and what it notes meanwhile."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from xmpp_onion.errors import BenchmarkError
from xmpp_onion.server.child import as_child, end, environment

__all__ = ["Tail", "Terminal", "run_on_terminal"]

# Seconds for one step. A login of Profanity takes 65, at a round trip of 5 s.
_PATIENCE: Final = 120.0
_PAUSE: Final = 0.02  # seconds between two looks at a file, which tells nobody
_LEAVING: Final = 10.0  # seconds; it takes less than one
_WINDOW: Final = struct.pack("HHHH", 60, 250, 0, 0)  # rows, columns, no pixels
_READ_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class Tail:
    """Lines that are written to files from now on.

    Args:
        folder: Where they are, or will be.
        pattern: Their names, below it.
    """

    folder: Path
    pattern: str
    _new: str = ""
    _read: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read = {path: path.stat().st_size for path in self._paths()}

    async def see(self, pattern: str) -> re.Match[str]:
        """Wait for a line with this, and pass over those before it.

        Raises:
            BenchmarkError: None came within two minutes.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                while (found := re.search(pattern, self._new)) is None:
                    await asyncio.sleep(_PAUSE)
                    self._new = self._take_all()
        except TimeoutError as error:
            raise BenchmarkError(
                "a program does not do what was typed",
                why=f"it did not note {pattern!r} in {_PATIENCE:.0f} s",
                fix="Leave it out: --only ours.",
            ) from error
        self._new = self._new[found.end() :]
        return found

    def _take_all(self) -> str:
        return "".join(self._take(path) for path in self._paths())

    def _paths(self) -> list[Path]:
        return sorted(self.folder.rglob(self.pattern))

    def _take(self, path: Path) -> str:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]  # the rest is being written
            self._read[path] = self._read.get(path, 0) + len(whole)
        return whole.decode(errors="replace")


@dataclass(slots=True)
class Terminal:
    """A terminal with a program on it."""

    descriptor: int
    process: asyncio.subprocess.Process

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self.descriptor, f"{line}\r".encode())

    async def quit(self, line: str) -> None:
        """Type what ends it, and wait for that, but not for ever."""
        self.type(line)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING):
                await self.process.wait()


@asynccontextmanager
async def run_on_terminal(
    command: Sequence[str], home: Path, folders: Mapping[str, str]
) -> AsyncIterator[Terminal]:
    """Run a program on a terminal of its own; it ends with the block, and with us.

    Args:
        command: The program and its arguments.
        home: Where it is started, and what it takes for its user's home.
        folders: What else it is told in its environment.
    """
    with _pair() as (ours, its):
        process = await asyncio.create_subprocess_exec(
            *(*as_child(None)[0], *command),
            cwd=home,
            env={**environment(), "HOME": str(home), "TERM": "xterm", **folders},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,  # Ctrl-C is for us
        )
        try:
            yield Terminal(ours, process)
        finally:
            await end(process, command[0], _LEAVING)


@contextmanager
def _pair() -> Iterator[tuple[int, int]]:
    """Make a terminal whose screen nobody looks at: our end, and that of a program."""
    ours, its = pty.openpty()
    loop = asyncio.get_running_loop()

    def look_away() -> None:
        try:
            os.read(ours, _READ_BYTES)
        except OSError:  # the program has ended
            loop.remove_reader(ours)

    try:
        fcntl.ioctl(its, termios.TIOCSWINSZ, _WINDOW)
        loop.add_reader(ours, look_away)
        yield ours, its
    finally:
        loop.remove_reader(ours)
        os.close(its)
        os.close(ours)
