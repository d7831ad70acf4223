"""Any exception as one of ours: a person reads a line, not a traceback.

For the two places where a program of ours ends: the command line and ``Bot.run``.
"""

import errno
import traceback
from pathlib import Path

from xmpp_onion.errors import StoreError, StorePermissionError, XmppOnionError

__all__ = ["explain", "innermost"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def innermost(error: BaseException) -> BaseException:
    """Return the first error of a group, of groups in groups too, or ``error``.

    A task group wraps what was raised inside of it; who ends because of it is not
    interested in how many groups there were.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def explain(error: BaseException) -> XmppOnionError:
    """Return an error of ours that tells about ``error``.

    What the operating system says about files becomes a ``StoreError``. The rest is
    a mistake in this package: its place is named and its text is not, which may hold
    what somebody wrote.
    """
    error = innermost(error)
    if isinstance(error, XmppOnionError):
        return error
    if isinstance(error, OSError):
        name = f": {error.filename}" if error.filename else ""
        why = f"{error.strerror or type(error).__name__}{name}"
        if error.errno in _FULL:
            return StoreError(
                "a file could not be written", why=why, fix="Make room; see: df -h"
            )
        if error.errno in _FORBIDDEN:
            return StorePermissionError(
                "a file cannot be used",
                why=why,
                fix="Choose another place with --data-dir, or mend its owner and mode.",
            )
    return XmppOnionError(
        "something went wrong that should not have",
        why=f"{type(error).__name__} in {_place(error)}",
        fix="This is a bug. Run it again with -vv, and report what is printed.",
    )


def _place(error: BaseException) -> str:
    """Return file and line where ``error`` was raised, for a report."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    ours = [frame for frame in frames if "xmpp_onion" in Path(frame.filename).parts]
    last = (ours or frames)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
