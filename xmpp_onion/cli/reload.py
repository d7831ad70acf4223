"""``--reload``: a program that is started anew when its files change.

The process that was started watches; a child of it does the work. What the program
remembers is on the disk, so nothing has to be carried over.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["keep_reloading"]

# Seconds between two looks; a person saves a file no more often.
_PAUSE: Final = 0.3
# Of a folder that is somebody's home no more is looked at than this.
_FILES: Final = 5_000
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "venv"})
# Says to the child that it is one, and where it sees that its parent is gone.
_VARIABLE: Final = "_XMPP_ONION_RELOADED"


def keep_reloading(folder: Path) -> None:
    """Return in the child; in its parent, start children until one is not to go on.

    A child that ended by itself is started again when a file has changed. SIGINT and
    SIGTERM end both, with the child's exit code; however the parent ends, the child
    does so, too.

    Args:
        folder: Whose Python and TOML files are watched.
    """
    if lifeline := os.environ.pop(_VARIABLE, ""):
        _end_with_parent(int(lifeline))
        return
    sys.exit(_watch(folder))


def _end_with_parent(lifeline: int) -> None:
    """End as by SIGTERM when nobody holds the other end of a pipe any more."""
    # What we start ourselves is to know nothing of it.
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - it takes no keyword

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _watch(folder: Path) -> int:
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: ended.append(got))
    # Of the other end there is no copy: it is closed when we are gone, killed or not.
    lifeline, _held = os.pipe()
    while True:
        before = _look(folder)
        # A group of its own: Ctrl-C is for us, and we tell the child.
        child = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, _VARIABLE: str(lifeline)},
            process_group=0,
            pass_fds=[lifeline],
        )
        while not ended and _look(folder) == before:
            time.sleep(_PAUSE)
        code = _end(child, ended)
        if ended:
            return code
        sys.stderr.write("A file has changed: once more.\n")


def _end(child: subprocess.Popen[bytes], ended: list[int]) -> int:
    """End a child as we were told to, and return its exit code."""
    if child.poll() is None:
        child.send_signal(ended[0] if ended else signal.SIGTERM)
    return child.wait()


def _look(folder: Path) -> dict[Path, int]:
    """Return when each file was changed."""
    found: dict[Path, int] = {}
    for path in _files(folder):
        try:
            found[path] = path.stat().st_mtime_ns
        except OSError:
            continue  # it is being replaced
        if len(found) >= _FILES:
            break
    return found


def _files(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = [n for n in inner if n not in _LEFT_OUT and not n.startswith(".")]
        yield from (
            Path(place, name) for name in names if name.endswith((".py", ".toml"))
        )
