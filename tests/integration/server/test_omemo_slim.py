"""Rooms on a real Prosody: everybody gets the keys of their own devices, and none less.

The members are bare streams (`LightMember`), and what they send has the form of OMEMO
and nothing in it: the server cannot tell.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

OLD = "eu.siacs.conversations.axolotl"
NEW = "urn:xmpp:omemo:2"
MAM = "urn:xmpp:mam:2"

Members = dict[str, LightMember]


@pytest.fixture
async def members(prosody: Prosody) -> AsyncIterator[Members]:
    """Three people in one room; each of them has two devices."""
    async with AsyncExitStack() as stack:
        people: Members = {}
        for number, name in enumerate(["alice", "bob", "carol"], start=1):
            jid = await prosody.add_account(name, "pw")
            member = LightMember(jid, "pw", prosody.c2s_port)
            people[name] = await stack.enter_async_context(member)
            await list_devices(member, [number * 10, number * 10 + 1])
        room = room_of(prosody)
        await people["alice"].create(room, "alice")
        others = ["bob", "carol"]
        await people["alice"].make_members(
            room, [str(people[one].jid) for one in others]
        )
        for name in others:
            await people[name].join(room, name)
        yield people


def room_of(prosody: Prosody) -> str:
    return f"room@muc.{prosody.onion}"


async def list_devices(member: LightMember, numbers: Iterable[int]) -> None:
    devices = "".join(f"<device id='{number}'/>" for number in numbers)
    await member.publish(f"{OLD}.devicelist", f"<list xmlns='{OLD}'>{devices}</list>")


def old_message(numbers: Iterable[int]) -> str:
    keys = "".join(f"<key rid='{number}'>a2V5</key>" for number in numbers)
    return (
        f"<encrypted xmlns='{OLD}'><header sid='10'>{keys}<iv>aXY=</iv></header>"
        "<payload>cGF5bG9hZA==</payload></encrypted>"
    )


def new_message(groups: Mapping[str, Iterable[int]]) -> str:
    keys = "".join(
        f"<keys jid='{jid}'>"
        + "".join(f"<key rid='{number}'>a2V5</key>" for number in numbers)
        + "</keys>"
        for jid, numbers in groups.items()
    )
    return (
        f"<encrypted xmlns='{NEW}'><header sid='10'>{keys}</header>"
        "<payload>cGF5bG9hZA==</payload></encrypted>"
    )


def say(member: LightMember, room: str, content: str) -> None:
    member.send(
        f"<message type='groupchat' to='{room}' id='m'>{content}"
        "<store xmlns='urn:xmpp:hints'/></message>"
    )


def numbers_in(message: ET.Element) -> list[int]:
    return [int(key.get("rid", "")) for key in message.iter(f"{{{OLD}}}key")]


def groups_in(message: ET.Element) -> dict[str, list[int]]:
    return {
        keys.get("jid", ""): [int(key.get("rid", "")) for key in keys]
        for keys in message.iter(f"{{{NEW}}}keys")
    }


async def archive_of(member: LightMember, room: str) -> list[ET.Element]:
    """Return what the room's archive has, as it tells this member."""
    member.send(f"<iq type='set' id='mam' to='{room}'><query xmlns='{MAM}'/></iq>")
    results: list[ET.Element] = []
    while (stanza := await member.next()).get("id") != "mam":
        results.extend(stanza.iter(f"{{{MAM}}}result"))
    return results


async def test_everybody_gets_the_keys_of_their_own_devices(
    prosody: Prosody, members: Members
) -> None:
    say(members["alice"], room_of(prosody), old_message([10, 11, 20, 21, 30, 31]))

    for name, own in {"alice": [10, 11], "bob": [20, 21], "carol": [30, 31]}.items():
        message = await members[name].next_message()
        assert numbers_in(message) == own
        assert (
            message.find(f"{{{OLD}}}encrypted/{{{OLD}}}header/{{{OLD}}}iv") is not None
        )
        assert message.find(f"{{{OLD}}}encrypted/{{{OLD}}}payload") is not None


async def test_in_the_new_version_everybody_gets_their_group_whole(
    prosody: Prosody, members: Members
) -> None:
    groups = {str(one.jid): [1, 2, 10] for one in members.values()}

    say(members["alice"], room_of(prosody), new_message(groups))

    for member in members.values():
        message = await member.next_message()
        assert groups_in(message) == {str(member.jid): [1, 2, 10]}


async def test_the_archive_is_whole_and_its_answers_are_slim(
    prosody: Prosody, members: Members
) -> None:
    room = room_of(prosody)
    groups = {str(one.jid): [1] for one in members.values()}
    both = old_message([10, 11, 20, 21, 30, 31]) + new_message(groups)
    say(members["alice"], room, both)
    for member in members.values():
        await member.next_message()

    for name, own in {"bob": [20, 21], "carol": [30, 31]}.items():
        [result] = await archive_of(members[name], room)
        assert numbers_in(result) == own
        assert groups_in(result) == {str(members[name].jid): [1]}
