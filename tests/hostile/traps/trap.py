"""What a test says when a library has mended the trap that it shows."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def still_there(is_so: bool, workaround: str) -> None:  # noqa: FBT001 - it stands for an assert
    """Fail if the bare library does not fall into its trap any more."""
    if not is_so:
        pytest.fail(f"the trap is gone: remove the work-around in {workaround}")


@contextmanager
def falls(error: type[BaseException], workaround: str) -> Iterator[None]:
    """Expect the error that the trap ends in."""
    has_fallen = False
    try:
        yield
    except error:
        has_fallen = True
    still_there(has_fallen, workaround)
