"""A server in one encrypted file, and out of it again.

In it are the keys, the certificate, the options and all that Prosody keeps; not what
is made anew at each start, and nothing of Tor's own.
"""

import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, NamedTuple, cast

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError, StoreError
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.sealed import SealedReader, SealedWriter
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.initialisation import complete, initialise
from xmpp_onion.server.options import Engine, Options
from xmpp_onion.server.ports import NO_PORTS
from xmpp_onion.server.saved import note_backup
from xmpp_onion.server.snapshot import Found, freeze, walk

__all__ = ["Saved", "backup", "restore"]

_OURS: Final = ("*.key", "server.json", "clients.json")
_CERTIFICATES: Final = PurePosixPath("prosody/certs")
_DATA: Final = PurePosixPath("prosody/data")
_UPLOADS: Final = "http_file_share"


class Saved(NamedTuple):
    """What a backup has in it.

    Attributes:
        onion: Whose it is.
        files: How many.
        size_bytes: Of all of them together.
    """

    onion: OnionAddress
    files: int
    size_bytes: int


async def backup(
    folder: Path, file: Path, secret: Secret, *, with_uploads: bool = True
) -> Saved:
    """Write the server of ``folder`` into one encrypted file.

    It may run, and goes on meanwhile: the file has what was on the disk at one moment.

    Args:
        folder: The server's folder.
        file: Where; nothing of that name may be there.
        secret: What opens it again.
        with_uploads: With the files that people shared.

    Raises:
        ServerError: There is no server, the name is taken, or see `freeze`.
        StoreError: The file cannot be written.
    """
    place = Folder(folder, find_unprivileged_user())
    onion = place.read_onion()
    place.check()
    if place.read_options().engine is not Engine.PROSODY:
        raise ServerError(
            f"the server in {folder} was not saved",
            why="only what Prosody keeps can be saved by this command",
            fix="Stop it, and copy the folder: server down, then cp -a.",
        )
    _refuse_taken(file)
    async with freeze(place) as data:
        with _draft(file) as target:
            sealed = SealedWriter(target, secret)
            with tarfile.open(
                fileobj=cast("BinaryIO", sealed), mode="w|", format=tarfile.PAX_FORMAT
            ) as archive:
                count = size = 0
                for found in _everything(place, data, with_uploads=with_uploads):
                    _add(archive, found)
                    count, size = count + 1, size + found.size
            sealed.finish()
    with suppress(StoreError):  # the backup is there all the same
        note_backup(place, datetime.now(UTC))
    return Saved(onion, count, size)


def restore(
    file: Path, folder: Path, find_secret: Callable[[Kind], Secret | None]
) -> OnionAddress:
    """Make the folder of a server out of a backup, with other ports.

    Nothing is there before all of it was read and found to be whole. Where the first
    server still runs, there are two that answer to one name: stop it.

    Args:
        file: The backup.
        folder: Where; a folder that is there has to be empty.
        find_secret: Asked for what opens it.

    Raises:
        ServerError: The folder is not empty; or the file is no backup, or damaged.
        StoreKeyError: It is another secret.
        StoreError: It cannot be read, or the folder not be written.
    """
    folder = folder.absolute()
    if folder.is_symlink() or (folder.exists() and not _is_empty(folder)):
        raise ServerError(
            f"nothing is restored into {folder}",
            why="it is not an empty folder",
            fix="Name one that is not there yet.",
        )
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}.new")
    try:
        with private.os_errors(file, verb="read"), file.open("rb") as source:
            sealed = SealedReader(source, find_secret)
            private.make_folder(draft)
            _extract(sealed, draft)
        onion = _adopt(draft)
        with private.os_errors(folder):
            draft.replace(folder)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(draft)
    initialise(folder)
    return onion


def _everything(folder: Folder, data: Path, *, with_uploads: bool) -> Iterator[Found]:
    ours = [path for form in _OURS for path in sorted(folder.path.glob(form))]
    for path in ours:
        yield from _open(path, PurePosixPath(path.name))
    for path in sorted((folder.path / _CERTIFICATES).iterdir()):
        yield from _open(path, _CERTIFICATES / path.name)
    owner = folder.prosody_uid
    for found in walk(data, owner=owner):
        if with_uploads or _UPLOADS not in found.path.parts[:-1]:
            yield found._replace(path=_DATA / found.path)


def _open(path: Path, name: PurePosixPath) -> Iterator[Found]:
    with private.os_errors(path, verb="read"), path.open("rb") as file:
        yield Found(name, os.fstat(file.fileno()).st_size, file)


def _add(archive: tarfile.TarFile, found: Found) -> None:
    entry = tarfile.TarInfo(str(found.path))
    entry.size, entry.mode = found.size, 0o600
    archive.addfile(entry, found.file)


def _extract(sealed: SealedReader, folder: Path) -> None:
    try:
        with tarfile.open(fileobj=cast("BinaryIO", sealed), mode="r|") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isfile() else None
                if content is None or not _is_inside(entry.name):
                    raise _strange()
                _write(folder / entry.name, cast("BinaryIO", content))
        sealed.finish()
    except tarfile.TarError as error:
        raise _strange() from error


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _write(path: Path, content: BinaryIO) -> None:
    private.make_folder(path.parent)
    with private.os_errors(path), os.fdopen(private.create_file(path), "wb") as file:
        shutil.copyfileobj(content, file)


def _adopt(draft: Path) -> OnionAddress:
    """Make what was read a server of this machine, and return its name."""
    place = Folder(draft, find_unprivileged_user())
    options = Options.load(place.options_file)
    replace(options, ports=NO_PORTS, socks=Options().socks).save(place.options_file)
    place.open_to_prosody()
    return complete(place)


def _refuse_taken(file: Path) -> None:
    if file.is_symlink() or file.exists():
        raise ServerError(
            f"the backup is not written to {file}",
            why="there is something of that name",
            fix="Choose another name, such as one with the day in it.",
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


@contextmanager
def _draft(file: Path) -> Iterator[BinaryIO]:
    """Write a file under another name, which it has until it is whole."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    try:
        with private.os_errors(file):
            with os.fdopen(private.create_file(draft), "wb") as target:
                yield target
            private.publish(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _strange() -> ServerError:
    return ServerError(
        "the backup cannot be read",
        why="it holds what a backup never holds",
        fix="Take another one.",
    )
