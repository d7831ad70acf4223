"""Command lines that people are told to type."""

from typing import TYPE_CHECKING

import pytest

from xmpp_onion.cli.hints import of_profile

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Log in: xmpp-onion listen", "Log in: xmpp-onion --profile ops listen"),
        (
            "`xmpp-onion trust list`; `xmpp-onion send a`",
            "`xmpp-onion --profile ops trust list`; `xmpp-onion --profile ops send a`",
        ),
        ("xmpp-onion server up DIR", "xmpp-onion server up DIR"),
        ("xmpp-onion --profile x listen", "xmpp-onion --profile x listen"),
        ("the same version of xmpp-onion for both", None),
        ("xmpp-onion listens", None),
    ],
)
def test_a_command_line_is_for_the_profile_that_was_used(
    text: str, told: str | None
) -> None:
    assert of_profile(text, "ops") == (told or text)
    assert of_profile(text, "") == text


def test_a_profile_that_a_shell_would_take_apart_is_quoted() -> None:
    assert of_profile("xmpp-onion listen", "a b") == "xmpp-onion --profile 'a b' listen"


@pytest.mark.usefixtures("account")
def test_an_error_tells_what_to_type_for_the_same_account(
    command: "Command", onion: str
) -> None:
    friend = f"alice@{onion}"
    typed = command("--profile", "default", "contact", "move", friend)
    kept = command("contact", "move", friend, XMPP_ONION_PROFILE="default")

    assert f"xmpp-onion --profile default send {friend}" in typed.err
    assert f"xmpp-onion send {friend}" in kept.err
