"""The folder of a profile as the doctor sees it: closed, and with room on its disk."""

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from xmpp_onion.errors import StoreError, StorePermissionError

__all__ = ["check_files", "check_space", "judge_space"]

# What people send in a bad hour, and what SQLite needs to take it in.
_SPACE_BYTES = 256 * 1024**2
_SHOWN = 3


def check_files(folder: Path) -> str | StorePermissionError:
    """Tell whether others can get at something of an account.

    Args:
        folder: The profile's.
    """
    loose = sorted(_loose(folder))
    if not loose:
        return f"all in {folder} is closed to others"
    more = f" and {len(loose) - _SHOWN} more" if len(loose) > _SHOWN else ""
    names = [shlex.quote(str(path)) for path in loose]
    return StorePermissionError(
        f"others can reach, or own, what is in {folder}",
        why=f"{', '.join(names[:_SHOWN])}{more}",
        fix=f"chmod -R go-rwx {shlex.quote(str(folder))}; what is another user's "
        f"becomes yours with: sudo chown -R $(id -u) {shlex.quote(str(folder))}",
    )


def _loose(folder: Path) -> Iterator[Path]:
    user = os.geteuid()
    for name, folders, files in os.walk(folder):
        for each in ("", *folders, *files):
            path = Path(name, each)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # it was removed meanwhile
            if stat.S_ISLNK(status.st_mode):
                continue
            if status.st_mode & 0o077 or status.st_uid != user:
                yield path


def check_space(folder: Path) -> str | StoreError:
    """Tell whether the disk has room for what comes."""
    try:
        return judge_space(shutil.disk_usage(folder).free, folder)
    except OSError as error:
        return StoreError(
            f"{folder} cannot be looked at",
            why=error.strerror or "",
            fix="Is its disk there, and is it yours? Look with: ls -ld "
            f"{shlex.quote(str(folder))}",
        )


def judge_space(free: int, folder: Path) -> str | StoreError:
    """Tell whether ``free`` bytes are enough."""
    if free >= _SPACE_BYTES:
        return f"{free / 1024**3:.1f} GiB are free"
    return StoreError(
        "the disk is nearly full",
        why=f"{free // 1024**2} MiB are free, and what cannot be kept is not taken in",
        fix=f"Make room (see: df -h {shlex.quote(str(folder))}).",
    )
