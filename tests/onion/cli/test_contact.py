"""Contacts over a real onion: nothing is accepted by itself."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person


pytestmark = pytest.mark.onion


def test_a_request_is_shown_and_accepted_by_hand(
    alice: "Person", bob: "Person"
) -> None:
    with bob.runs("listen", "--json") as listen:
        listen.line()
        asked = alice.run("contact", "add", bob.jid, "--json")
        request = listen.line()
        while request["event"] != "request":
            request = listen.line()
        before = bob.run("contact", "list", "--json")
        accepted = bob.run("contact", "accept", alice.jid, "--json")
        after = bob.run("contact", "list", "--json")

    assert (asked.code, asked.lines[0]["state"]) == (0, "asked")
    assert (request["v"], request["from"]) == (1, alice.jid)
    assert [line for line in before.lines if line["state"] in {"from", "both"}] == []
    assert (accepted.code, accepted.lines[0]["state"]) == (0, "accepted")
    (line,) = after.lines
    assert line["jid"] == alice.jid
    assert line["state"] in {"from", "both"}
