"""A message of a room that waits for keys is read again as the same message."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from xmpp_onion.address import JID
from xmpp_onion.session.groupchat import read_groupchat
from xmpp_onion.session.shelf import read_waiting, write_incoming

ONION = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
ROOM, ALICE = JID(f"friends@muc.{ONION}"), JID(f"alice@{ONION}")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize("author", [ALICE, None])
@pytest.mark.parametrize("body", ["", "<body>fallback</body>"])
# All that a parser takes, and that a server passes on.
@pytest.mark.parametrize(
    "inside", ["", "<xml:a xml:b='c'><d/><e xmlns='urn:x'/></xml:a>", "<a xmlns=''/>f"]
)
def test_a_room_message_is_the_same_after_waiting(
    author: JID | None, body: str, inside: str
) -> None:
    element = ET.fromstring(  # noqa: S314 - our own text
        f"<message xmlns='jabber:client' type='groupchat' from='{ROOM}/al' id='m1'>"
        f"<encrypted xmlns='urn:xmpp:omemo:2'><header sid='7'/>{inside}</encrypted>"
        f"{body}</message>"
    )
    said = read_groupchat(element, author=author, now=NOW)
    assert said is not None

    again = read_waiting(
        write_incoming(said), own=JID(f"bob@{ONION}"), at=NOW, stanza_id="s1"
    )

    assert again is not None
    assert [ET.tostring(one) for one in again.encrypted] == [
        ET.tostring(one) for one in said.encrypted
    ]
    expected = replace(said, delayed=True, stanza_id="s1", encrypted=again.encrypted)
    assert again == expected
