"""What a room says was taken out of it: of its own, once, and bounded."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.session.groupchat import read_groupchat, read_room_archived
from xmpp_onion.session.moderation import Moderation, read_moderation, write_moderation

ONION = OnionAddress.from_public_key(bytes(32))
ROOM, ALICE = JID(f"friends@muc.{ONION}"), JID(f"alice@{ONION}")
AT = datetime(2026, 11, 26, tzinfo=UTC)
ITEM = f"<item xmlns='http://jabber.org/protocol/muc#user' jid='{ALICE}'/>"
MODERATED = "<moderated xmlns='urn:xmpp:message-moderate:1' by='{}'>{}</moderated>"
RETRACT = "<retract xmlns='urn:xmpp:message-retract:1' id='{}'>{}</retract>"
BY_ALICE = MODERATED.format(f"{ROOM}/al", ITEM)
REASON = "<reason>be kind</reason>"


def message(inside: str, nick: str = "") -> ET.Element:
    return ET.fromstring(  # noqa: S314 - our own text
        f"<message xmlns='jabber:client' type='groupchat' from='{ROOM}{nick}' id='m1'>"
        f"{inside}</message>"
    )


def test_what_the_room_itself_says_is_read_live_and_from_its_archive() -> None:
    said = message(RETRACT.format("s1", BY_ALICE + REASON))
    expected = Moderation("s1", nick="al", by=ALICE, reason="be kind")

    live = read_groupchat(said, author=None, now=AT)
    kept = read_room_archived(said, room=ROOM, at=AT, stanza_id="s2")

    assert live is not None
    assert kept is not None
    assert live.moderation == kept.moderation == expected
    assert live.key == kept.key
    assert (live.room, kept.stanza_id, kept.delayed) == (ROOM, "s2", True)
    assert "be kind" not in repr(live)


def test_what_somebody_in_the_room_says_takes_nothing_out() -> None:
    said = message(RETRACT.format("s1", BY_ALICE), nick="/mallory")

    assert read_groupchat(said, author=ALICE, now=AT) is None


def test_who_did_it_is_not_told_by_a_nick_of_another_room() -> None:
    other = MODERATED.format(f"others@muc.{ONION}/al", "")
    nobody = read_moderation(message(RETRACT.format("s1", other)), ROOM)

    assert nobody == Moderation("s1", nick="", by=None)


@pytest.mark.parametrize(
    "inside",
    [
        RETRACT.format("", BY_ALICE),
        RETRACT.format("x" * 1025, BY_ALICE),
        RETRACT.format("s1", ""),
        RETRACT.format("s1", BY_ALICE * 2),
        RETRACT.format("s1", BY_ALICE) * 2,
        BY_ALICE,
        "",
    ],
)
def test_what_is_malformed_or_twice_takes_nothing_out(inside: str) -> None:
    assert read_moderation(message(inside), ROOM) is None


def test_a_reason_is_cut_where_nobody_reads_on() -> None:
    said = RETRACT.format("s1", BY_ALICE + f"<reason>{'x' * 5000}</reason>")
    found = read_moderation(message(said), ROOM)

    assert found is not None
    assert len(found.reason) == 1000


def test_without_a_reason_none_is_sent() -> None:
    assert [each.tag for each in write_moderation("s1", "")] == [
        "{urn:xmpp:message-retract:1}retract"
    ]
    assert write_moderation("s1", "why")[1].text == "why"
