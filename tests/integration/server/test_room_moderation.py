"""Moderation on a real Prosody: who may, what stays of a message, and who is told."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

MAM = "urn:xmpp:mam:2"
RETRACT = "urn:xmpp:message-retract:1"
MODERATE = "urn:xmpp:message-moderate:1"
USER = "http://jabber.org/protocol/muc#user"

Members = dict[str, LightMember]


@pytest.fixture
async def members(prosody: Prosody) -> AsyncIterator[Members]:
    """An owner and two members, all in one room."""
    async with AsyncExitStack() as stack:
        people: Members = {}
        for name in ("alice", "bob", "carol"):
            jid = await prosody.add_account(name, "pw")
            member = LightMember(jid, "pw", prosody.c2s_port)
            people[name] = await stack.enter_async_context(member)
        room = room_of(prosody)
        await people["alice"].create(room, "alice")
        others = ["bob", "carol"]
        await people["alice"].make_members(room, [str(people[o].jid) for o in others])
        for name in others:
            await people[name].join(room, name)
        yield people


def room_of(prosody: Prosody) -> str:
    return f"room@muc.{prosody.onion}"


async def say(member: LightMember, room: str, text: str) -> str:
    """Say something, and return what the room calls it."""
    member.send(
        f"<message type='groupchat' to='{room}' id='m'><body>{text}</body></message>"
    )
    while True:
        back = await member.next_message()
        if back.findtext("{jabber:client}body") == text:
            return back.find("{urn:xmpp:sid:0}stanza-id").get("id", "")  # type: ignore[union-attr]  # it is archived


async def moderate(
    member: LightMember, room: str, stanza_id: str, more: str = ""
) -> ET.Element:
    return await member.ask(
        f"<moderate xmlns='{MODERATE}' id='{stanza_id}'>"
        f"<retract xmlns='{RETRACT}'/>{more}</moderate>",
        to=room,
        kind="set",
    )


async def archived(member: LightMember, room: str) -> list[ET.Element]:
    member.send(f"<iq type='set' id='archive' to='{room}'><query xmlns='{MAM}'/></iq>")
    found = []
    while True:
        stanza = await member.next()
        if stanza.get("id") == "archive":
            return found
        found += stanza.findall(f"{{{MAM}}}result//{{jabber:client}}message")


async def test_who_is_there_is_told_and_a_note_stays_in_the_place_of_a_message(
    prosody: Prosody, members: Members
) -> None:
    alice, bob, carol = members.values()
    room = room_of(prosody)
    await say(bob, room, "before")
    bad = await say(bob, room, "the bad word")
    await say(bob, room, "after")
    for _ in range(3):
        await carol.next_message()

    await moderate(alice, room, bad, "<reason>be kind</reason>")

    told = await carol.next_message()
    assert told.get("from") == room
    retract = told.find(f"{{{RETRACT}}}retract")
    assert retract is not None
    assert retract.get("id") == bad
    assert retract.findtext(f"{{{RETRACT}}}reason") == "be kind"
    moderated = retract.find(f"{{{MODERATE}}}moderated")
    assert moderated is not None
    assert moderated.get("by") == f"{room}/alice"
    item = moderated.find(f"{{{USER}}}item")
    assert item is not None
    assert (item.get("jid"), item.get("affiliation")) == (alice.jid, "owner")

    kept = await archived(carol, room)
    texts = [each.findtext("{jabber:client}body") for each in kept]
    assert texts == ["before", None, "after", None]
    note = kept[1].find(f"{{{RETRACT}}}retracted")
    assert note is not None
    assert note.find(f"{{{MODERATE}}}moderated") is not None
    assert "the bad word" not in "".join(ET.tostring(one, "unicode") for one in kept)
    assert kept[3].find(f"{{{RETRACT}}}retract") is not None


@pytest.mark.parametrize("history", [3, 20])
async def test_nobody_who_comes_in_is_shown_what_was_taken_out(
    prosody: Prosody, members: Members, history: int
) -> None:
    """Three are what Prosody has in memory; for more it reads the archive."""
    alice, bob, carol = members.values()
    room = room_of(prosody)
    await say(bob, room, "before")
    bad = await say(bob, room, "the bad word")
    await moderate(alice, room, bad)
    await carol.leave(room, "carol")

    carol.send(
        f"<presence to='{room}/carol'><x xmlns='http://jabber.org/protocol/muc'>"
        f"<history maxstanzas='{history}'/></x></presence>"
    )
    shown = [await carol.next_message() for _ in range(3)]

    texts = [each.findtext("{jabber:client}body") for each in shown]
    assert texts == ["before", None, None]
    assert shown[1].find(f"{{{RETRACT}}}retracted") is not None
    assert shown[1].find("{urn:xmpp:delay}delay") is not None
    assert b"the bad word" not in b"".join(ET.tostring(each) for each in shown)


async def test_only_owners_and_admins_who_are_there_may(
    prosody: Prosody, members: Members
) -> None:
    alice, bob, carol = members.values()
    room = room_of(prosody)
    said = await say(bob, room, "mine")

    for nobody in (bob, carol):
        with pytest.raises(AssertionError, match="forbidden"):
            await moderate(nobody, room, said)
    await alice.leave(room, "alice")
    with pytest.raises(AssertionError, match="forbidden"):
        await moderate(alice, room, said)
    await alice.join(room, "alice")

    for wrong in ("", "unknown"):
        with pytest.raises(AssertionError, match=r"bad-request|item-not-found"):
            await moderate(alice, room, wrong)
    with pytest.raises(AssertionError, match="bad-request"):
        await moderate(alice, room, said, f"<reason>{'x' * 1001}</reason>")
    texts = [e.findtext("{jabber:client}body") for e in await archived(bob, room)]
    assert texts == ["mine"]

    await moderate(alice, room, said)
    with pytest.raises(AssertionError, match="item-not-found"):
        await moderate(alice, room, said)
