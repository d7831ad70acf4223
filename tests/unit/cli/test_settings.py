import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion.cli.settings import Settings

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


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


def test_what_nobody_typed_comes_from_the_file(
    command: "Command", tmp_path: Path
) -> None:
    folder = tmp_path / ".config" / "xmpp-onion"
    folder.mkdir(parents=True)
    file = folder / "config.toml"
    file.touch(mode=0o600)
    file.write_text(f'profile = "ops"\ndata_dir = "{tmp_path / "elsewhere"}"\n')

    found = command("devices", "list", "--json", XMPP_ONION_DATA_DIR="")
    typed = command("devices", "list", "--json", "--profile", "default")

    assert f"there is no {tmp_path}/elsewhere/ops/" in str(found.lines[0]["why"])
    assert f"there is no {tmp_path}/data/default/" in str(typed.lines[0]["why"])


def test_a_file_with_an_unknown_setting_ends_a_command_before_it_begins(
    command: "Command", tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.touch(mode=0o600)
    file.write_text("sock = 1")

    done = command("account", "list", "--config", str(file), "--json")

    assert (done.code, done.lines[0]["fix"]) == (7, "Did you mean socks?")
