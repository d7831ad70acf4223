"""Files and folders that belong to this user alone.

Created closed (not closed afterwards), whatever the umask. Symbolic links, foreign
owners and what is open to others are refused with the command that mends it.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from xmpp_onion.errors import StoreError, StorePermissionError

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
# Never through a link, and never waiting for the other end of a pipe.
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def make_folder(folder: Path) -> None:
    """Create ``folder`` and those above it that are missing, or check that it is ours.

    Raises:
        StorePermissionError: It cannot be made or written, or is not private.
    """
    with os_errors(folder):
        for each in reversed([f for f in (folder, *folder.parents) if not _exists(f)]):
            with contextlib.suppress(FileExistsError):  # made meanwhile: checked below
                each.mkdir(mode=_FOLDER_MODE)
                if each.lstat().st_mode & _FOLDER_MODE != _FOLDER_MODE:
                    each.chmod(_FOLDER_MODE)  # a umask may also take away too much
        check_folder(folder)
        mode = stat.S_IMODE(folder.lstat().st_mode)
        if mode & 0o300 != 0o300 and not os.access(  # root may all the same
            folder, os.W_OK | os.X_OK, effective_ids=True
        ):
            raise StorePermissionError(
                f"{folder} cannot be written",
                why=f"its owner may not either (mode {mode:04o})",
                fix=f"chmod {_FOLDER_MODE:o} {shlex.quote(str(folder))}",
            )


def check_folder(folder: Path, *, owner: int | None = None) -> bool:
    """Return whether a folder is there; refuse one that is not its owner's alone.

    Args:
        folder: The folder; those above it are not looked at.
        owner: The user id that it has to belong to; by default ours.

    Raises:
        StorePermissionError: A link, another user's, or open to others.
    """
    return _check(folder, _FOLDER_MODE, owner)


def check_file(path: Path, *, owner: int | None = None) -> bool:
    """Return whether a file is there; refuse it as ``check_folder()`` does."""
    return _check(path, _FILE_MODE, owner)


def create_file(path: Path, *, mode: int = _FILE_MODE) -> int:
    """Create an empty file and return its descriptor, for reading and writing.

    Raises:
        OSError: Something of that name is there, a link included; or as ``open()``.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY
    return _with_mode(os.open(path, flags, mode), mode)


def open_file(path: Path) -> int:
    """Open a file for reading and writing, made empty if it is missing.

    Raises:
        StorePermissionError: It cannot be made or written, or is not private.
    """
    check_file(path)
    with os_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFELY, _FILE_MODE)
        return _with_mode(descriptor, _FILE_MODE, check=path)


def open_anew(path: Path) -> BinaryIO:
    """Open a file as ``open_file()``, drop what was in it, and append from now on.

    So it can be shortened while a program writes to it.
    """
    descriptor = open_file(path)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    file = os.fdopen(descriptor, "wb")  # does not truncate a descriptor
    file.truncate(0)
    return file


def shorten(path: Path, limit: int) -> None:
    """Drop the older half of a file that a program appends to, once it is too long.

    What is written in that very moment may be lost; so a program that logs a lot
    gets a new file instead, where it can be told to.

    Args:
        path: The file; it may be missing.
        limit: Bytes that it may have.

    Raises:
        StorePermissionError: It is not ours alone, or a link.
        StoreError: It cannot be written.
    """
    if not check_file(path) or path.stat().st_size <= limit:
        return
    descriptor = open_file(path)
    with os_errors(path), os.fdopen(descriptor, "r+b") as file:
        file.seek(-(limit // 2), os.SEEK_END)
        rest = file.read(limit // 2)
        file.truncate(0)
        file.seek(0)
        file.write(rest[rest.find(b"\n") + 1 :])


def open_to_read(path: Path) -> int:
    """Open a file for reading, and return its descriptor.

    Raises:
        FileNotFoundError: There is none.
        StorePermissionError: It is not private, or cannot be read.
    """
    if not check_file(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with os_errors(path, verb="read"):
        return os.open(path, os.O_RDONLY | _SAFELY)


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """Return what is in a file, up to ``limit`` bytes; raise as ``open_to_read()``."""
    with os.fdopen(open_to_read(path), "rb") as file:
        # Again: another one may have taken its place meanwhile.
        _refuse_unless_private(path, os.fstat(file.fileno()), _FILE_MODE)
        return file.read(limit)


def read(path: Path) -> str:
    """Return the text in a file; raise as ``open_to_read()``, or UnicodeDecodeError."""
    return read_bytes(path).decode()


def write_new(path: Path, data: bytes) -> None:
    """Put ``data`` on the disk under a name that is free: whole, or not at all.

    Raises:
        OSError: The name is taken, by a link perhaps; or it cannot be written.
    """
    with _draft(path, data, _FILE_MODE) as draft:
        _sync(draft)
        os.link(draft, path)  # fails if the name is taken; a rename would not
        _sync(path.parent)


def replace(path: Path, data: bytes, *, mode: int = _FILE_MODE) -> None:
    """Put ``data`` in place of what ``path`` held, in one step.

    Args:
        path: A file, or a link, which is replaced and not followed.
        data: The new content.
        mode: The new file's, whatever the umask; 0640 where a group has to read it.

    Raises:
        StoreError: It cannot be written; the old content is still there.
    """
    with os_errors(path), _draft(path, data, mode) as draft:
        publish(draft, path)


def publish(draft: Path, path: Path) -> None:
    """Rename a finished file to its name, so that a crash leaves all or nothing."""
    with os_errors(path):
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)


@contextlib.contextmanager
def os_errors(path: Path, *, verb: str = "written") -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as error:
        kind, what, place = StoreError, "cannot be used", shlex.quote(str(path.parent))
        fix = f"Check with: ls -ld {place}; or choose another place"
        if error.errno in _FORBIDDEN:
            kind, what = StorePermissionError, f"cannot be {verb}"
        elif error.errno in _FULL:
            what = "could not be written"
            fix = f"Make room (see: df -h {place}), then try again"
        raise kind(f"{path} {what}", why=error.strerror or "", fix=fix) from error


def _check(path: Path, mode: int, owner: int | None) -> bool:
    with os_errors(path, verb="read"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        _refuse_unless_private(path, status, mode, owner)
        return True


def _refuse_unless_private(
    path: Path, status: os.stat_result, mode: int, owner: int | None = None
) -> None:
    wanted, theirs = os.geteuid() if owner is None else owner, status.st_uid
    quoted = shlex.quote(str(path))
    is_kind = stat.S_ISDIR if mode == _FOLDER_MODE else stat.S_ISREG
    if stat.S_ISLNK(status.st_mode):
        why = "it is a symbolic link, and may lead where others can write"
        fix = "Name the real place instead, or remove the link"
    elif not is_kind(status.st_mode):
        why = "something else has its name"
        fix = f"Check with: ls -ld {quoted}; or choose another place"
    elif theirs != wanted:
        why = f"it belongs to user {theirs}, and has to belong to user {wanted}"
        fix = (
            "Choose another place, run as its owner, or, if it should be yours: "
            f"sudo chown {wanted} {quoted}"
        )
    elif status.st_mode & 0o077:
        why = f"others can reach it (mode {stat.S_IMODE(status.st_mode):04o})"
        fix = f"chmod {mode:o} {quoted}"
    else:
        return
    raise StorePermissionError(f"{path} is refused", why=why, fix=fix)


def _exists(path: Path) -> bool:
    try:
        path.lstat()  # not exists(): a broken link is there
    except FileNotFoundError:
        return False
    return True


def _with_mode(descriptor: int, mode: int, *, check: Path | None = None) -> int:
    """Give an open file its mode: a umask may also take away too much."""
    try:
        if check is not None:  # another one may have taken its place meanwhile
            _refuse_unless_private(check, os.fstat(descriptor), mode)
        os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _draft(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Write a file beside ``path``, and remove it if it is still there at the end."""
    # Begins with the name, so that whoever removes a file finds its drafts too.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        with os.fdopen(create_file(draft, mode=mode), "wb") as file:
            file.write(data)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
