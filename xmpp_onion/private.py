"""Files and folders that belong to this user alone.

Created closed (not closed afterwards), whatever the umask; symbolic links,
foreign owners and files open to others are refused with the command that mends it.
"""

import os
from pathlib import Path

from xmpp_onion.errors import StorePermissionError

__all__ = ["check", "create_file", "make_folder", "read", "replace_file"]


def make_folder(folder: Path) -> None:
    """Create ``folder`` with mode 0700, or check that it is this user's alone.

    Raises:
        StorePermissionError: It belongs to somebody else, is open to others, or
            cannot be made or written.
    """
    try:
        for missing in reversed([folder, *folder.parents]):
            if not missing.exists():
                missing.mkdir(mode=0o700)
        found = folder.stat()
    except OSError as error:
        raise StorePermissionError(
            f"the folder {folder} cannot be used",
            why=error.strerror or str(error),
            fix="Choose another, or have its owner give it to you.",
        ) from error
    check(folder, found)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorePermissionError(
            f"the folder {folder} cannot be written",
            why=f"its mode is {found.st_mode & 0o777:04o}",
            fix=f"Open it for yourself: chmod u+rwx '{folder}'",
        )


def check(path: Path, found: os.stat_result) -> None:
    """Raise unless ``found``, the status of ``path``, says it is ours alone.

    Raises:
        StorePermissionError: Another owner, or a mode with rights for others.
    """
    if found.st_uid != os.geteuid():
        raise StorePermissionError(
            f"{path} belongs to another user",
            why="whoever owns it can change it",
            fix="Use a folder of your own.",
        )
    if found.st_mode & 0o077:
        raise StorePermissionError(
            f"others on this machine can reach {path}",
            why=f"its mode is {found.st_mode & 0o777:04o}",
            fix=f"Close it: chmod go-rwx '{path}'",
        )


def create_file(path: Path) -> int:
    """Create ``path`` with mode 0600 and return its file descriptor.

    Raises:
        FileExistsError: Something of that name is there, a link included.
        StorePermissionError: It cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        raise
    except OSError as error:
        raise _unusable(path, error) from error


def read(path: Path) -> str:
    """Return the text of a file that is this user's alone.

    Raises:
        FileNotFoundError: There is none.
        StorePermissionError: It is a link, open to others, or unreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unusable(path, error) from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        check(path, os.fstat(descriptor))
        return file.read()


def replace_file(path: Path, text: str) -> None:
    """Put ``text`` in place of what ``path`` held, in one step, mode 0600.

    Raises:
        StorePermissionError: It cannot be written; the old text is still there.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(create_file(fresh), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _unusable(path: Path, error: OSError) -> StorePermissionError:
    return StorePermissionError(
        f"{path} cannot be used", why=error.strerror or str(error)
    )
