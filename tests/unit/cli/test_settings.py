import logging

import pytest

from xmpp_onion.cli.settings import Settings


@pytest.mark.parametrize(
    ("verbosity", "quiet", "expected"),
    [
        (0, False, logging.WARNING),
        (1, False, logging.INFO),
        (2, False, logging.DEBUG),
        (9, False, logging.DEBUG),
        (2, True, logging.ERROR),
    ],
)
def test_the_options_decide_what_is_logged(
    verbosity: int, *, quiet: bool, expected: int
) -> None:
    logger = logging.getLogger("xmpp_onion")
    before = logger.level
    try:
        output = Settings(verbosity=verbosity, quiet=quiet, as_json=True).output
        found = logger.level
    finally:
        logger.setLevel(before)

    assert found == expected
    assert (output.as_json, output.quiet) == (True, quiet)
