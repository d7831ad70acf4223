"""A voice note: a recording in a file, or what another program records into stdin."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click

from xmpp_onion.private import os_errors

__all__ = ["recorded"]

# Bytes from stdin: 25 minutes as a CD has them, a day of Opus. A program that never
# ends must not fill the memory.
_LIMIT: Final = 256 * 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024


@contextmanager
def recorded(path: Path | None, voice: str | None) -> Iterator[Path]:
    """Yield the file to send: one that is named, or what comes from stdin.

    A file is read twice, by the process that holds the account, so what comes has to
    lie somewhere: where the system keeps things in memory, for this user alone, and
    until it is sent.
    """
    if voice != "-":
        yield path or Path(voice or "")
        return
    if sys.stdin.isatty():
        raise click.UsageError("there is no sound: pipe it in, as with arecord")
    with os_errors(Path(tempfile.gettempdir())):
        # Of mode 0700, whatever the umask.
        folder = Path(tempfile.mkdtemp(prefix="xmpp-onion-", dir=_memory()))
    try:
        yield _spool(sys.stdin.buffer, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> str | None:
    """Return the folder that the system keeps in memory; None if it has none."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return folder if Path(folder).is_absolute() and Path(folder).is_dir() else None


def _spool(stdin: BinaryIO, folder: Path) -> Path:
    path, size = folder / "voice", 0
    with os_errors(path), path.open("xb") as file:
        while piece := stdin.read(_PIECE_BYTES):
            size += len(piece)
            if size > _LIMIT:
                raise click.UsageError(
                    f"the recording is too long: it has more than {_LIMIT} bytes"
                )
            file.write(piece)
    if not size:
        raise click.UsageError("there is no sound: stdin is empty")
    from xmpp_onion.files import read_sound  # noqa: PLC0415 - cryptography is slow

    named = path.with_suffix(read_sound(path).ending)
    return path.rename(named)
