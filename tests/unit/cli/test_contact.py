from typing import TYPE_CHECKING

from xmpp_onion import Account
from xmpp_onion.account import Receipts

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_nobody_is_told_that_a_message_arrived_until_receipts_are_on(
    command: "Command", account: Account
) -> None:
    data = account.folder.parent
    assert account.receipts is Receipts.NEVER

    on = command("contact", "receipts", "on", "--json")

    assert on.lines == [{"v": 1, "event": "receipts", "jid": account.jid, "on": True}]
    assert Account.load("default", data).receipts is Receipts.CONTACTS
    assert "Nobody" in command("contact", "receipts", "off").out
    assert Account.load("default", data).receipts is Receipts.NEVER
