"""A folder for files that nobody needs when the process is gone.

A process that is killed cannot clean up: the next one that makes such a folder
does it for it.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

from xmpp_onion.locks import try_lock

__all__ = ["ScratchFolder"]

_LOCK = "in-use.lock"


class ScratchFolder:
    """A new folder in the system's temporary folder, with mode 0700.

    Args:
        path: The folder; `make` makes one.
        lock: The descriptor of a lock file in it, locked while we live.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls, prefix: str) -> Self:
        """Sweep up what killed processes left under ``prefix``; make a new one."""
        for abandoned in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            _sweep(abandoned)
        while True:
            path = Path(tempfile.mkdtemp(prefix=prefix))
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            if try_lock(lock):
                return cls(path, lock)
            os.close(lock)  # swept up by another process while it was being born

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if folder.lstat().st_uid != os.getuid():
            return
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if try_lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
