"""Any exception as one of ours: a person reads a line, not a traceback.

For the two places where a program of ours ends: the command line and ``Bot.run``.
"""

import errno

from xmpp_onion.errors import (
    StoreFullError,
    StorePermissionError,
    XmppOnionError,
)
from xmpp_onion.one_error import innermost, place_of

__all__ = ["explain"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


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
            return StoreFullError(
                "a file could not be written", why=why, fix="Make room; see: df -h"
            )
        if error.errno in _FORBIDDEN:
            return StorePermissionError(
                "a file cannot be used",
                why=why,
                fix="Mend its owner and mode, or name another place.",
            )
    return XmppOnionError(
        "something went wrong that should not have",
        why=place_of(error),
        fix="This is a bug. Run it again with -vv, and report what is printed.",
    )
