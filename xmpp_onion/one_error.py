"""The error of a task as it is, and not the group that a task group makes of it."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["innermost", "place_of", "the_one_error"]


def innermost(error: BaseException) -> BaseException:
    """Return the first error of a group, of groups in groups too, or ``error``.

    A task group wraps what was raised inside of it; who ends because of it is not
    interested in how many groups there were.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def place_of(error: BaseException) -> str:
    """Return where a mistake of ours was made: its class, file and line.

    Its text, which may hold what somebody wrote, stays out.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "xmpp_onion" in Path(frame.filename).parts]
    place = "an unknown place"
    if frames:
        last = (ours or frames)[-1]
        place = f"{Path(last.filename).name}, line {last.lineno}"
    return f"{type(error).__name__} in {place}"


@contextmanager
def the_one_error(callers: BaseException | None = None) -> Iterator[None]:
    """Raise the error of a task as it is, not wrapped into a group.

    Both tasks of a client are its own business: who writes ``except
    AuthenticationError`` around a client means it.

    Args:
        callers: What the caller's block ended with; a group of the caller's own
            stays whole.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and error is not callers:
            error = error.exceptions[0]
        raise error from error.__cause__
