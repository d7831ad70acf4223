from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    "words",
    [
        ["react", "bob@{onion}", "", "+"],
        ["react", "bob@example.org", "an-id", "+"],
        ["send", "bob@{onion}", "-m", "x", "--correct", ""],
        ["send", "bob@{onion}", "eve@{onion}", "-m", "x", "--correct", "an-id"],
        ["send", "bob@{onion}", "-m", "x", "--correct", "an-id", "--wait", "none"],
        ["send", "bob@{onion}", "-m", "x", "--mention", "eve"],
        ["send", "bob@{onion}", "-m", "x", "--mention", "room@{onion}/eve"],
        [
            "send",
            "bob@{onion}",
            "-m",
            "x",
            "--mention",
            "eve@{onion}",
            "--wait",
            "none",
        ],
    ],
)
def test_what_names_no_one_message_is_wrong_usage(
    command: "Command", onion: str, words: list[str]
) -> None:
    done = command(*(word.format(onion=onion) for word in words))

    assert done.code == 2
    assert done.out == ""
