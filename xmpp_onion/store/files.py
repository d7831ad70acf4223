"""Files and folders that nobody else can read, and the lock on an account.

All of it is made private when it is created, not mended afterwards; what is
found in another state is refused with the command that mends it.
"""

import contextlib
import errno
import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from xmpp_onion.errors import StoreError, StoreLockedError, StorePermissionError

COMPANIONS = ("-wal", "-shm", "-journal")  # what SQLite may put beside its file

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


def make_private_place(path: Path) -> Path:
    """Return a file's absolute path, in a folder that is for our user alone.

    The folder and those above it are made where they are missing.

    Raises:
        StorePermissionError: It cannot be made, or is there and not private.
    """
    path = path.absolute()
    folder = path.parent
    with _os_errors(folder):
        missing = [f for f in (folder, *folder.parents) if not _exists(f)]
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError):  # made meanwhile: checked below
                each.mkdir(mode=_FOLDER_MODE)
        _refuse_unless_private(folder, folder.lstat(), mode=_FOLDER_MODE)
    return path


def check_private_file(path: Path) -> bool:
    """Return whether a file is there; refuse one that is not ours alone.

    Raises:
        StorePermissionError: A link, another user's, or open to others.
    """
    with _os_errors(path):
        if not _exists(path):
            return False
        _refuse_unless_private(path, path.lstat(), mode=_FILE_MODE)
        return True


def has_content(path: Path) -> bool:
    """Return whether a file is there and not empty."""
    return path.exists() and path.stat().st_size > 0


def create_private_file(path: Path) -> None:
    """Create an empty file, mode 0600 whatever the umask.

    SQLite gives the files that it puts beside it the same mode. What an earlier try
    left under the name is removed.
    """
    with _os_errors(path):
        for suffix in ("", *COMPANIONS):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(path, flags, _FILE_MODE)
        try:
            os.fchmod(descriptor, _FILE_MODE)  # a umask may also take away too much
        finally:
            os.close(descriptor)


def publish(path: Path, target: Path) -> None:
    """Rename a finished file to its name, so that a crash leaves all or nothing."""
    with _os_errors(target):
        _sync(path)
        path.replace(target)
        _sync(target.parent)


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock file of an account; the kernel releases it when we die.

    The file stays: to remove it would let two processes lock two files of one
    name. It holds the process id of its last owner, for the message only.

    Raises:
        StoreLockedError: Another process, or this one, holds it already.
        StorePermissionError: The lock file is not ours alone, or not writable.
    """
    check_private_file(path)
    with _os_errors(path):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(path, flags, _FILE_MODE)
    try:
        _lock(descriptor, path)
        with _os_errors(path):
            os.fchmod(descriptor, _FILE_MODE)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 20, 0).strip()
        pid = f"process {int(owner)}" if owner.isdigit() else "another process"
        raise StoreLockedError(
            f"the account in {path.parent} is in use",
            why=f"{pid} holds it, and one account is one process",
            fix=(
                "Stop the other one, or let it send for you: "
                "`xmpp-onion send` beside `xmpp-onion listen` works"
            ),
        ) from error
    except OSError as error:
        raise StoreError(
            f"the account in {path.parent} cannot be locked",
            why=error.strerror or "",
            fix="Keep the data directory on a local file system",
        ) from error


def _exists(path: Path) -> bool:
    try:
        path.lstat()  # not exists(): a broken link is there
    except FileNotFoundError:
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_unless_private(path: Path, status: os.stat_result, *, mode: int) -> None:
    quoted = shlex.quote(str(path))
    is_kind = stat.S_ISDIR if mode == _FOLDER_MODE else stat.S_ISREG
    if stat.S_ISLNK(status.st_mode):
        why = "it is a symbolic link, and may lead where others can write"
        fix = "Name the real place with --data-dir, or remove the link"
    elif not is_kind(status.st_mode):
        why = "something else has its name"
        fix = f"Check with: ls -ld {quoted}; or choose another place with --data-dir"
    elif status.st_uid != os.geteuid():
        why = f"it belongs to user {status.st_uid}, and we are user {os.geteuid()}"
        fix = f"Run as its owner, or: sudo chown {os.geteuid()} {quoted}"
    elif status.st_mode & 0o077:
        why = f"others can reach it (mode {stat.S_IMODE(status.st_mode):04o})"
        fix = f"chmod {mode:o} {quoted}"
    else:
        return
    raise StorePermissionError(f"{path} is refused", why=why, fix=fix)


@contextlib.contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FORBIDDEN:
            raise StorePermissionError(
                f"{path} cannot be written",
                why=error.strerror or "",
                fix=(
                    f"Check with: ls -ld {shlex.quote(str(path.parent))}; "
                    "or choose another place with --data-dir"
                ),
            ) from error
        raise StoreError(f"{path} cannot be used", why=error.strerror or "") from error
