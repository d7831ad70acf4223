"""What rooms send: each stanza counts from one place, and nothing of it is endless."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Affiliation, Role
from xmpp_onion.session import Invitation, RoomPresence, RoomSignal
from xmpp_onion.session.muc import (
    LIST_LIMIT,
    read_affiliations,
    read_configuration,
    read_invitation,
    read_room_message,
    read_room_presence,
)

ONION = OnionAddress.from_public_key(bytes(32))
ROOM = JID(f"friends@muc.{ONION}")
ROOMS = {ROOM}
BOB = JID(f"bob@{ONION}")
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
USER = "http://jabber.org/protocol/muc#user"


def stanza(name: str, inner: str, **attributes: str) -> ET.Element:
    text = f"<{name} xmlns='jabber:client'>{inner}</{name}>"
    element = ET.fromstring(text)  # noqa: S314 - our own text
    element.attrib.update({key.rstrip("_"): value for key, value in attributes.items()})
    return element


def x(inner: str) -> str:
    return f"<x xmlns='{USER}'>{inner}</x>"


HERE = x(f"<item jid='{BOB}/phone' affiliation='member' role='participant'/>")


def test_a_presence_tells_who_is_there_by_the_real_account() -> None:
    element = stanza("presence", HERE, from_=f"{ROOM}/bobby")

    assert read_room_presence(element, ROOMS) == RoomPresence(
        ROOM,
        "bobby",
        is_there=True,
        jid=BOB,
        affiliation=Affiliation.MEMBER,
        role=Role.PARTICIPANT,
    )


@pytest.mark.parametrize(
    ("sender", "inner", "kind"),
    [
        pytest.param(f"other@muc.{ONION}/bobby", HERE, "", id="a room we are not in"),
        pytest.param(f"{BOB}/bobby", HERE, "", id="a person"),
        pytest.param(ROOM, HERE, "", id="the room itself"),
        pytest.param(f"{ROOM}/bobby", "", "", id="no word of the room"),
        pytest.param(f"{ROOM}/bobby", x(""), "", id="no item"),
        pytest.param(f"{ROOM}/bobby", HERE, "subscribe", id="a request"),
        pytest.param("nonsense", HERE, "", id="no JID"),
    ],
)
def test_a_presence_from_elsewhere_says_nothing(
    sender: str, inner: str, kind: str
) -> None:
    attributes = {"from_": sender} | ({"type": kind} if kind else {})

    assert read_room_presence(stanza("presence", inner, **attributes), ROOMS) is None


def test_a_groupchat_message_gives_nobody_an_affiliation() -> None:
    item = x(f"<item jid='{BOB}' affiliation='owner'/>")
    element = stanza("message", item, from_=f"{ROOM}/bobby", type="groupchat")

    assert read_room_message(element, ROOMS) is None


def test_the_room_itself_tells_of_members_who_are_away() -> None:
    item = x(f"<item jid='{BOB}' affiliation='outcast'/><status code='301'/>")
    element = stanza("message", item, from_=ROOM)

    assert read_room_message(element, ROOMS) == RoomSignal(
        ROOM, frozenset({301}), ((BOB, Affiliation.OUTCAST),)
    )


@pytest.mark.parametrize("code", ["104", "170", "171", "172", "173", "174"])
def test_the_room_itself_tells_that_its_configuration_changed(code: str) -> None:
    element = stanza(
        "message", x(f"<status code='{code}'/>"), from_=ROOM, type="groupchat"
    )

    assert read_room_message(element, ROOMS) == RoomSignal(ROOM, frozenset({int(code)}))


def test_what_people_say_is_left_to_others() -> None:
    said = "<body>hi</body>"
    element = stanza("message", said, from_=f"{ROOM}/bobby", type="groupchat")

    assert read_room_message(element, ROOMS) is None


def test_a_mediated_invitation_names_who_the_room_says_invites() -> None:
    element = stanza("message", x(f"<invite from='{BOB}/phone'/>"), from_=ROOM)

    assert read_room_message(element, set()) == Invitation(ROOM, BOB, is_direct=False)


def test_an_occupant_cannot_speak_for_the_room() -> None:
    inner = x(f"<invite from='{BOB}'/><status code='104'/>")
    element = stanza("message", inner, from_=f"{ROOM}/mallory", type="chat")

    assert read_room_message(element, ROOMS) is None


def test_a_direct_invitation_is_of_the_person_it_comes_from() -> None:
    inner = f"<x xmlns='jabber:x:conference' jid='{ROOM}'/>"
    element = stanza("message", inner, from_=f"{BOB}/phone")

    assert read_room_message(element, set()) == Invitation(ROOM, BOB, is_direct=True)


def test_an_invitation_that_the_archive_kept_is_the_same_but_for_its_time() -> None:
    inner = f"<x xmlns='jabber:x:conference' jid='{ROOM}'/>"
    element = stanza("message", inner, from_=f"{BOB}/phone", id="1")
    live = read_room_message(element, set())

    assert live == Invitation(ROOM, BOB, is_direct=True, id="1")
    assert read_invitation(element, at=NOW) == replace(live, at=NOW)


def test_what_a_room_signalled_while_we_were_away_is_no_invitation() -> None:
    signal = stanza("message", x("<status code='104'/>"), from_=ROOM)

    assert read_invitation(signal, at=NOW) is None


@pytest.mark.parametrize(
    "inner",
    [
        "<x xmlns='jabber:x:conference' jid='muc.example.org'/>",
        f"<x xmlns='jabber:x:conference' jid='{ONION}'/>",
        f"<x xmlns='jabber:x:conference' jid='{ROOM}/nick'/>",
        f"<x xmlns='jabber:x:conference' jid='{ROOM}'/><encrypted xmlns='o'/>",
    ],
)
def test_what_is_no_invitation_is_a_message_like_others(inner: str) -> None:
    assert read_room_message(stanza("message", inner, from_=BOB), set()) is None


def test_a_refusal_says_which() -> None:
    inner = (
        "<error type='auth'><registration-required "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    )
    element = stanza("presence", inner, from_=f"{ROOM}/me", type="error")
    found = read_room_presence(element, ROOMS)

    assert found is not None
    assert found.error == "registration-required"


def test_a_list_of_a_million_is_read_as_too_long_and_no_further() -> None:
    query = ET.Element("query")
    admin = "{http://jabber.org/protocol/muc#admin}item"
    for index in range(LIST_LIMIT + 50):
        item = {"jid": f"m{index}@{ONION}", "affiliation": "member"}
        ET.SubElement(query, admin, item)

    assert len(read_affiliations(query)) == LIST_LIMIT + 1


def test_accounts_that_cannot_be_are_left_out_of_a_list() -> None:
    query = ET.Element("query")
    admin = "{http://jabber.org/protocol/muc#admin}item"
    for jid in ("bob@example.org", "@@", BOB):
        ET.SubElement(query, admin, {"jid": jid, "affiliation": "member"})
    ET.SubElement(query, admin, {"jid": BOB, "affiliation": "emperor"})

    assert read_affiliations(query) == ((BOB, Affiliation.MEMBER),)


def features(*names: str) -> ET.Element:
    query = ET.Element("query")
    for name in names:
        tag = "{http://jabber.org/protocol/disco#info}feature"
        ET.SubElement(query, tag, {"var": name})
    return query


def test_a_room_is_private_only_if_it_says_so_and_not_the_opposite() -> None:
    both = ("muc_membersonly", "muc_nonanonymous")

    assert not read_configuration(features(*both)).why_not_private
    assert read_configuration(features("muc_nonanonymous")).why_not_private
    assert read_configuration(features("muc_membersonly")).why_not_private
    assert read_configuration(features(*both, "muc_open")).why_not_private
    assert read_configuration(features(*both, "muc_semianonymous")).why_not_private
    assert read_configuration(None).why_not_private


@given(
    sender=st.sampled_from([ROOM, f"{ROOM}/bob", BOB, "", "a@b", "\x00"]),
    kind=st.sampled_from(["", "unavailable", "error", "groupchat", "normal", "zzz"]),
    codes=st.lists(st.text(max_size=4), max_size=30),
    attributes=st.dictionaries(
        st.sampled_from(["jid", "affiliation", "role", "nick"]), st.text(max_size=9)
    ),
)
def test_whatever_comes_is_read_or_left(
    sender: str, kind: str, codes: list[str], attributes: dict[str, str]
) -> None:
    for name in ("presence", "message"):
        element = ET.Element(f"{{jabber:client}}{name}", {"from": sender, "type": kind})
        user = ET.SubElement(element, f"{{{USER}}}x")
        ET.SubElement(user, f"{{{USER}}}item", attributes)
        for code in codes:
            ET.SubElement(user, f"{{{USER}}}status", {"code": code})

        seen, said = (
            read_room_presence(element, ROOMS),
            read_room_message(element, ROOMS),
        )

        assert seen is None or seen.room == ROOM
        assert said is None or said.room == ROOM
