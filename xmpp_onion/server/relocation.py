"""Prosody's data, as it would be if the server always had its new name.

Both names are 56 letters that occur nowhere else: in what Prosody writes, and in how
it calls its files, one takes the place of the other, byte for byte. Nothing changes
its length, and nothing has to be understood: rosters, rooms with their members, nodes,
archives, invites, what waits for whoever is away.

Source: Prosody's ``util/datamanager.lua``, the same in 0.12 and 13.0 as far as that
goes: texts as Lua writes them, in which letters and digits stand for themselves; of a
host's name, in the names of files, dots alone are written otherwise.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.server.snapshot import walk

__all__ = ["relocate"]

_CHUNK_BYTES: Final = 1024 * 1024
# What people shared: as they sent it, encrypted as a rule, and gigabytes of it.
_UPLOADS: Final = "http_file_share"


def relocate(
    source: Path,
    target: Path,
    *,
    old: OnionAddress,
    new: OnionAddress,
    owner: int,
    hand_over: Callable[[Path], None],
) -> int:
    """Make a copy of Prosody's data under another name, and count its files.

    Args:
        source: The data, which nobody writes meanwhile.
        target: A folder that is not there yet.
        old: The name that is in it.
        new: The name that is put in its place.
        owner: Whose the files are; those of others are left out.
        hand_over: Gives the finished copy to that user.

    Raises:
        StoreError: The copy cannot be written.
    """
    before, after = (_label(name) for name in (old, new))
    private.make_folder(target)
    count = 0
    for found in walk(source, owner=owner):
        path = target / PurePosixPath(str(found.path).replace(before, after))
        private.make_folder(path.parent)
        with private.os_errors(path):
            if _UPLOADS in found.path.parts[:-1]:
                _share(found.file, path)
            else:
                _rewrite(found.file, path, before.encode(), after.encode())
        count += 1
    hand_over(target)
    return count


def _label(name: OnionAddress) -> str:
    return name.service.removesuffix(".onion")


def _rewrite(file: BinaryIO, path: Path, before: bytes, after: bytes) -> None:
    """Copy a file with one name in place of the other; never all of it in memory."""
    with os.fdopen(private.create_file(path), "wb") as copy:
        rest = b""
        while chunk := file.read(_CHUNK_BYTES):
            rest = (rest + chunk).replace(before, after)
            # A name may have begun here that goes on in the next chunk.
            whole = max(len(rest) - len(before) + 1, 0)
            copy.write(rest[:whole])
            rest = rest[whole:]
        copy.write(rest)


def _share(file: BinaryIO, path: Path) -> None:
    """Let the copy have the same file: nobody writes into what was uploaded."""
    try:
        # The very file that was opened, whatever has its name by now. Python follows
        # the link only if it is told a folder, which counts for nothing here.
        opened = file.fileno()
        os.link(f"/proc/self/fd/{opened}", path, src_dir_fd=opened)
    except OSError:
        with os.fdopen(private.create_file(path), "wb") as copy:
            shutil.copyfileobj(file, copy)
