"""What a typed line means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.cli.chat_words import COMMANDS, Typed, read_typed
from xmpp_onion.errors import UsageError


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("hello", Typed("", "hello")),
        (" /help", Typed("", " /help")),
        ("//etc/hosts", Typed("", "/etc/hosts")),
        ("/help", Typed("help", "")),
        ("/reply 3  well,  yes ", Typed("reply", "3  well,  yes")),
        ("/ver AB CD", Typed("verify", "AB CD")),
        ("/re 1", None),  # reply, react, retract
        ("/nothing", None),
        ("/", None),
        ("/ help", None),
    ],
)
def test_a_line_is_a_text_or_a_command(line: str, typed: Typed | None) -> None:
    if typed is None:
        with pytest.raises(UsageError, match="there is no command"):
            read_typed(line)
    else:
        assert read_typed(line) == typed


@given(st.text())
def test_no_text_that_is_not_a_command_is_changed(text: str) -> None:
    if not text.startswith("/"):
        assert read_typed(text) == Typed("", text)
    assert read_typed("/" + text if text.startswith("/") else text).command == ""


def test_words_are_split_as_in_a_shell() -> None:
    assert Typed("file", "'my file.txt'").words(1, 1) == ["my file.txt"]
    with pytest.raises(UsageError, match="a quote is not closed"):
        Typed("file", "it's").words(1, 1)
    with pytest.raises(UsageError, match="used as /file PATH"):
        Typed("file", "a b").words(1, 1)


@pytest.mark.parametrize("text", ["", "x", "-1", "²", "1.5", "9" * 10])
def test_a_message_has_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="used as /reply N TEXT"):
        Typed("reply", text).number_and_text()


def test_every_command_says_what_it_does() -> None:
    assert all(text for _, text in COMMANDS.values())
