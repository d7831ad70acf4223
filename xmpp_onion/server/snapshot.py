"""A copy of what Prosody has on the disk, as of one moment, while it goes on.

Prosody does one thing at a time, and while it links its files into a folder it does
nothing else. What it replaces afterwards it replaces by a new file, and what it appends
to was so long at that moment: both together are the moment.

Source: Prosody's ``util/datamanager.lua``, the same in 0.12 and 13.0 as far as that
goes: ``store`` and all that trims a list write a new file and rename it.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, NamedTuple

from xmpp_onion import locks
from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.lock import locked

__all__ = ["Found", "freeze", "walk"]

_NAME: Final = ".backup"
_SIZES: Final = ".sizes"
# For a disk that is slow: a link is a few microseconds, and there is one for each file.
_SECONDS: Final = 60.0
# Of the process, and what Prosody makes anew: the index of a list it writes in place.
_LEFT_OUT: Final = ("prosody.sock", "prosody.pid", _NAME, _SIZES)
_LEFT_OUT_ENDS: Final = (".lidx", ".log", "~")

_FREEZE: Final = """
local lfs = require "lfs"
local data = prosody.paths.data
local top = data.."/.backup"
assert(lfs.mkdir(top))
local sizes = assert(io.open(top.."/.sizes", "w"))
local function link(path)
	for name in lfs.dir(data..path) do
		local inner = path.."/"..name
		local found = lfs.symlinkattributes(data..inner)
		if found and name ~= "." and name ~= ".." and inner ~= "/.backup" then
			if found.mode == "directory" then
				assert(lfs.mkdir(top..inner))
				link(inner)
			elseif found.mode == "file" then
				assert(lfs.link(data..inner, top..inner))
				assert(sizes:write(found.size, " ", inner:sub(2), "\\n"))
			end
		end
	end
end
link("")
assert(sizes:close())
return "done"
"""


class Found(NamedTuple):
    """A file to be kept.

    Attributes:
        path: Seen from the data folder.
        size: Bytes of it that count.
        file: Open; for the time of one turn.
    """

    path: PurePosixPath
    size: int
    file: BinaryIO


@asynccontextmanager
async def freeze(folder: Folder) -> AsyncIterator[Path]:
    """Yield a folder with Prosody's data that does not change meanwhile.

    A server that runs goes on; one that does not cannot be started meanwhile.

    Raises:
        ServerError: It runs and does not answer, or a backup is under way already, or
            the file system has no hard links.
    """
    with locks.open_lock(folder.path / "backup.lock") as turn:
        if not await locks.take(folder.path / "backup.lock", turn):
            raise ServerError(
                f"the server in {folder.path} is being backed up already",
                why="another process does it",
                fix="Wait until it is done.",
            )
        async with contextlib.AsyncExitStack() as stack:
            if not locks.is_held(folder.lock_file):
                await stack.enter_async_context(locked(folder))
                yield folder.data
                return
            frozen = folder.data / _NAME
            _remove(frozen)  # of a process that was killed
            stack.callback(_remove, frozen)
            await ask(folder.data, _FREEZE, timeout=_SECONDS)
            yield frozen


def walk(data: Path, *, owner: int) -> Iterator[Found]:
    """Yield the files of what `freeze` yielded, each to be read at once.

    Prosody's user could put something else there: no link is followed, and nothing is
    read that belongs to somebody else.

    Args:
        data: The folder.
        owner: Whose the files are.
    """
    sizes = _read_sizes(data / _SIZES)
    for place, folders, names, descriptor in os.fwalk(data):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        for name in sorted(names):
            path = PurePosixPath(Path(place, name).relative_to(data))
            if name in _LEFT_OUT or name.endswith(_LEFT_OUT_ENDS):
                continue
            if sizes is not None and str(path) not in sizes:
                continue
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                opened = os.open(name, flags, dir_fd=descriptor)
            except OSError:  # a link, a socket, or gone
                continue
            with os.fdopen(opened, "rb") as file:
                status = os.fstat(opened)
                if stat.S_ISREG(status.st_mode) and status.st_uid == owner:
                    size = status.st_size if sizes is None else sizes[str(path)]
                    yield Found(path, min(size, status.st_size), file)


def _read_sizes(path: Path) -> dict[str, int] | None:
    try:
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        return None  # nothing changes: they are as long as they are
    pairs = (line.partition(" ") for line in lines)
    return {name: int(size) for size, _, name in pairs}


def _remove(folder: Path) -> None:
    # It never follows a link (shutil.rmtree.avoids_symlink_attacks).
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
