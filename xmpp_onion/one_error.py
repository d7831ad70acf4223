"""The error of a task as it is, and not the group that a task group makes of it."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["the_one_error"]


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
