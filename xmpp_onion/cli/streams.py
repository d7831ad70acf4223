"""Standard streams that are closed, or cannot be written to."""

import os
import sys
from contextlib import suppress
from typing import TextIO

__all__ = ["drop_unwritable", "open_streams"]


def open_streams() -> None:
    """Give /dev/null to each standard stream that the caller closed.

    A shell closes them with ``<&-`` or ``>&-``, and some supervisors do. Python has
    None in their place, and, worse, the next socket would get their numbers: what a
    library says on stderr would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, _stream(number))


def _stream(number: int) -> TextIO:
    if number == 0:
        return open(number, encoding="utf-8", closefd=False)
    return open(number, "w", encoding="utf-8", closefd=False)


def drop_unwritable() -> None:
    """Say nothing when Python flushes at its end what could not be written.

    It would turn our exit code into 120.
    """
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):  # a full disk; or dropped before
        sys.stdout = None
    with suppress(OSError, AttributeError):
        sys.stderr.flush()
