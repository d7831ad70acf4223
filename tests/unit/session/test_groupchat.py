"""What is said in a room: by whom, as the room tells, and where its archive has it."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest

from xmpp_onion.address import JID
from xmpp_onion.session.groupchat import (
    Seat,
    read_groupchat,
    read_room_archived,
    seat_of,
)
from xmpp_onion.session.guards import Outline

ONION = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
ROOM, ALICE = JID(f"friends@muc.{ONION}"), JID(f"alice@{ONION}")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENCRYPTED = (
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='7'>"
    "<key rid='1'>a2V5</key><iv>aXY=</iv></header><payload>cA==</payload></encrypted>"
)
DELAY = "<delay xmlns='urn:xmpp:delay' {} stamp='2026-11-22T00:00:00Z'/>"
ITEM = "<x xmlns='http://jabber.org/protocol/muc#user'><item jid='{}'/></x>"


def message(inside: str, nick: str = "/al", kind: str = "groupchat") -> ET.Element:
    return ET.fromstring(  # noqa: S314 - our own text
        f"<message xmlns='jabber:client' type='{kind}' from='{ROOM}{nick}' id='m1'>"
        f"{inside}</message>"
    )


def test_a_seat_is_a_room_and_a_nick_and_only_of_a_groupchat_message() -> None:
    assert seat_of(message("")) == Seat(ROOM, "al")
    assert seat_of(message("", kind="chat")) is None
    assert seat_of(message("", nick="")) == Seat(ROOM, "")


def test_the_author_of_a_live_message_is_who_the_room_says_has_the_nick_now() -> None:
    forged = ITEM.format(f"mallory@{ONION}")
    stanza_ids = (
        f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='s1'/>"
        f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ALICE}' id='s2'/>"
    )
    origin = "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>"

    said = read_groupchat(
        message(ENCRYPTED + forged + stanza_ids + origin), author=ALICE, now=NOW
    )

    assert said is not None
    assert (said.sender, said.room, said.nick, said.to) == (ALICE, ROOM, "al", ROOM)
    assert (said.id, said.stanza_id, said.at) == ("o1", "s1", NOW)
    assert not said.delayed
    assert not said.is_nobodys
    assert said.is_silent


def test_a_message_behind_whose_nick_nobody_is_known_is_nobodys() -> None:
    said = read_groupchat(message(ENCRYPTED + ITEM.format(ALICE)), author=None)

    assert said is not None
    assert said.is_nobodys
    assert said.sender == f"{ROOM}/al"


def test_two_ids_of_the_rooms_archive_are_none() -> None:
    twice = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='s1'/>" * 2

    said = read_groupchat(message(ENCRYPTED + twice), author=ALICE)

    assert said is not None
    assert said.stanza_id == ""


@pytest.mark.parametrize(
    "inside",
    [
        "<subject>new</subject>",
        ENCRYPTED + DELAY.format(f"from='{ROOM}'"),
        ENCRYPTED * 2,
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
    ],
    ids=["subject", "history", "two of one version", "typing in the clear"],
)
def test_what_is_nothing_to_read_is_passed(inside: str) -> None:
    assert read_groupchat(message(inside), author=ALICE) is None


@pytest.mark.parametrize("by", ["", f"from='{ALICE}/phone'"])
def test_what_waited_at_its_author_is_said_now(by: str) -> None:
    said = read_groupchat(message(ENCRYPTED + DELAY.format(by)), author=ALICE, now=NOW)

    assert said is not None
    assert (said.at, said.delayed) == (NOW, False)


def test_what_the_room_itself_says_is_no_message() -> None:
    notice = message("<body>This room is logged</body>", nick="")

    assert read_groupchat(notice, author=None) is None


def test_the_author_of_an_old_message_is_whom_the_archive_keeps_with_it() -> None:
    old = message(ENCRYPTED + ITEM.format(f"{ALICE}/phone"))

    said = read_room_archived(old, room=ROOM, at=NOW, stanza_id="s1")

    assert said is not None
    assert (said.sender, said.nick, said.stanza_id) == (ALICE, "al", "s1")
    assert said.delayed


@pytest.mark.parametrize(
    "items", ["", ITEM.format(ALICE) * 2, ITEM.format(ONION), ITEM.format("@@")]
)
def test_an_old_message_with_no_author_or_two_is_nobodys(items: str) -> None:
    old = message(ENCRYPTED + items)

    said = read_room_archived(old, room=ROOM, at=NOW, stanza_id="s1")

    assert said is not None
    assert said.is_nobodys


def test_an_archive_holds_what_was_said_in_its_own_room_alone() -> None:
    elsewhere = JID(f"enemies@muc.{ONION}")
    old = message(ENCRYPTED + ITEM.format(ALICE))

    assert read_room_archived(old, room=elsewhere, at=NOW, stanza_id="s1") is None
    chat = message(ENCRYPTED + ITEM.format(ALICE), kind="chat")
    assert read_room_archived(chat, room=ROOM, at=NOW, stanza_id="s1") is None


def test_the_same_message_live_and_archived_has_one_name() -> None:
    live = read_groupchat(message(ENCRYPTED), author=ALICE)
    old = read_room_archived(
        message(ENCRYPTED + ITEM.format(ALICE)), room=ROOM, at=NOW, stanza_id="s1"
    )

    assert live is not None
    assert old is not None
    assert live.key == old.key


def test_what_is_beyond_a_limit_is_told_and_passed() -> None:
    outline = Outline(
        "{jabber:client}message",
        {"type": "groupchat", "from": f"{ROOM}/al", "id": "m1"},
    )
    outline.why = "it is nested too deeply"

    said = read_groupchat(outline, author=ALICE)

    assert said is not None
    assert said.excess == "it is nested too deeply"
    assert said.encrypted == ()
