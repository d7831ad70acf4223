"""How long what is said may be kept, set without a connection."""

from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_a_conversation_is_given_a_timer_and_shown_it_without_a_connection(
    command: "Command", account: Account
) -> None:
    bob = f"bob@{account.jid.domain}"
    room = f"friends@muc.{account.jid.domain}"

    def line(jid: str, seconds: int | None) -> dict[str, object]:
        return {"v": 1, "event": "timer", "jid": jid, "seconds": seconds}

    assert command("contact", "timer", bob, "--json").lines == [line(bob, None)]
    set_ = command("contact", "timer", bob, "1d", "--json")
    assert (set_.code, set_.lines) == (0, [line(bob, 86400)])
    assert "for 90s" in command("room", "timer", "friends", "90s").out
    assert command("contact", "timer", bob, "--json").lines == [line(bob, 86400)]
    assert command("room", "timer", room, "--json").lines == [line(room, 90)]
    assert "for ever" in command("contact", "timer", bob, "off").out
    assert command("contact", "timer", bob, "--json").lines == [line(bob, None)]


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("time", ["", "soon", "0s", "2000d", "OFF"])
def test_what_is_no_time_is_wrong_usage(
    command: "Command", onion: str, time: str
) -> None:
    assert command("contact", "timer", f"bob@{onion}", time).code == 2
