"""A file system of a few megabytes that can be filled, for processes put into it."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

_PIECE_BYTES = 64 * 1024
_MOUNT = 'mount -t tmpfs -o size="$2",mode=700 none "$1" && echo there && exec cat'


class SmallDisk:
    """A tmpfs in a namespace of its own, so that it needs no rights; a context manager.

    Args:
        place: The folder on which it is mounted, for those in the namespace.
        size: As mount(8) takes it.
    """

    def __init__(self, place: Path, size: str = "8m") -> None:
        self.place = place
        self._size = size

    async def __aenter__(self) -> Self:
        self.place.mkdir(mode=0o700)
        self._holder = await asyncio.create_subprocess_exec(
            *("unshare", "--user", "--map-root-user", "--mount"),
            *("sh", "-c", _MOUNT, "sh", str(self.place), self._size),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._holder.stdout
        assert await self._holder.stdout.readline() == b"there\n"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._holder.stdin
        self._holder.stdin.close()
        await self._holder.wait()

    @property
    def inside(self) -> Path:
        """The same folder, for those outside."""
        return Path(f"/proc/{self._holder.pid}/root{self.place}")

    @property
    def prefix(self) -> list[str]:
        """What puts a process into it."""
        return [
            *("nsenter", "--target", str(self._holder.pid)),
            *("--user", "--mount", "--preserve-credentials"),
        ]

    def fill(self) -> None:
        """Leave no block free."""
        with (self.inside / "filler").open("ab", buffering=0) as file:
            for size in (_PIECE_BYTES, 512, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        """Take away what fills it."""
        (self.inside / "filler").unlink(missing_ok=True)
