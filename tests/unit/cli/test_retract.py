from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("words", [["bob@{onion}", ""], ["bob@example.org", "an-id"]])
def test_what_names_no_one_message_is_wrong_usage(
    command: "Command", onion: str, words: list[str]
) -> None:
    done = command("retract", *(word.format(onion=onion) for word in words))

    assert done.code == 2
    assert done.out == ""
