"""``contact move``, as far as it goes without a network."""

from typing import TYPE_CHECKING

from xmpp_onion import Account

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_nobody_moves_whose_server_did_not_say_so(
    command: "Command", account: Account
) -> None:
    friend = f"alice@{account.jid.domain}"

    done = command("contact", "move", friend, "--yes", "--json")

    [line] = done.lines
    assert (done.code, line["event"]) == (2, "error")
    assert line["what"] == f"nobody said that {friend} has moved"
    assert f"xmpp-onion send {friend}" in str(line["fix"])
