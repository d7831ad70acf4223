from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

DIGITS = "1a" * 32


@pytest.mark.usefixtures("account")
def test_what_is_no_uri_is_refused_before_anybody_logs_in(
    command: "Command", onion: str
) -> None:
    done = command("trust", "verify", f"xmpp:bob@{onion}", "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (2, 2)
    assert "no fingerprint" in str(line["why"])
    assert done.err == ""


@pytest.mark.usefixtures("account")
def test_a_text_that_cannot_be_read_is_refused_before_anybody_logs_in(
    command: "Command", onion: str
) -> None:
    text = f"bob@{onion} {DIGITS} verified\nbob@{onion} {DIGITS} maybe\n"

    done = command("trust", "import", "-", "--json", stdin=text)

    (line,) = done.lines
    assert (done.code, line["code"]) == (2, 2)
    assert str(line["why"]).startswith("line 2")
    assert done.err == ""


@pytest.mark.usefixtures("account")
def test_a_policy_needs_a_word_that_is_one(command: "Command", onion: str) -> None:
    assert command("trust", "policy", f"bob@{onion}").code == 2
    assert command("trust", "policy", f"bob@{onion}", "always").code == 2


def test_automatic_trust_is_on_until_it_is_switched_off(
    command: "Command", account: Account
) -> None:
    assert account.automatic_trust

    off = command("trust", "automatic", "off", "--json")

    (line,) = off.lines
    assert (off.code, line["on"]) == (0, False)
    data = account.folder.parent
    assert not Account.load("default", data).automatic_trust
    assert command("trust", "automatic", "on").code == 0
    assert Account.load("default", data).automatic_trust


def test_an_account_of_before_has_automatic_trust(account: Account) -> None:
    path = account.folder / "account.toml"
    text = path.read_text()
    path.write_text(text.replace("automatic_trust = true\n", ""))

    assert Account.load("default", account.folder.parent).automatic_trust


@pytest.mark.usefixtures("account")
def test_a_device_is_not_removed_without_a_yes(command: "Command") -> None:
    done = command("devices", "remove", "7")

    assert done.code == 2
    assert "--yes" in done.err
    assert command("devices", "remove", "0", "--yes").code == 2


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    "words",
    [
        ["verify", "bob@{onion}", "1a2b"],
        ["verify", "bob@{onion}"],
        ["pin", "bob@{onion}", "no"],
    ],
)
def test_what_is_no_whole_fingerprint_is_wrong_usage(
    command: "Command", onion: str, words: list[str]
) -> None:
    done = command("trust", *(word.format(onion=onion) for word in words))

    assert done.code == 2
    assert "finger" in done.err.lower()
