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


async def test_the_history_at_joining_is_slim(
    prosody: Prosody, members: Members
) -> None:
    room = room_of(prosody)
    await members["carol"].leave(room, "carol")
    say(members["alice"], room, old_message([10, 11, 20, 21, 30, 31]))
    await members["bob"].next_message()

    await members["carol"].join(room, "carol", history=1)

    assert numbers_in(await members["carol"].next_message()) == [30, 31]

    # What nobody lists any more may be anybody's.
    await list_devices(members["bob"], [21])
    await members["carol"].leave(room, "carol")
    await members["carol"].join(room, "carol", history=1)

    assert numbers_in(await members["carol"].next_message()) == [20, 30, 31]


async def test_who_has_no_device_list_gets_everything(
    prosody: Prosody, members: Members
) -> None:
    jid = await prosody.add_account("dave", "pw")
    async with LightMember(jid, "pw", prosody.c2s_port) as dave:
        await members["alice"].make_members(room_of(prosody), [str(jid)])
        await dave.join(room_of(prosody), "dave")
        say(members["alice"], room_of(prosody), old_message([10, 20, 30, 40]))

        assert numbers_in(await dave.next_message()) == [10, 20, 30, 40]


async def test_a_former_device_is_known_after_a_restart(
    prosody: Prosody, members: Members
) -> None:
    await list_devices(members["bob"], [21])
    await list_devices(members["carol"], [20, 30])
    await prosody.restart()
    async with AsyncExitStack() as stack:
        room = room_of(prosody)
        again = {
            name: await stack.enter_async_context(
                LightMember(member.jid, "pw", prosody.c2s_port)
            )
            for name, member in members.items()
        }
        for name, member in again.items():
            await member.join(room, name)

        say(again["alice"], room, old_message([10, 20, 21, 30]))

        assert numbers_in(await again["bob"].next_message()) == [20, 21]
        assert numbers_in(await again["carol"].next_message()) == [20, 30]


async def test_what_is_not_omemo_passes_as_it_is(
    prosody: Prosody, members: Members
) -> None:
    strange = (
        f"<encrypted xmlns='{OLD}'>text<header/><header sid='1'><key/>x</header>"
        f"</encrypted><encrypted xmlns='{NEW}'/><body>a&amp;b</body>"
    )
    say(members["alice"], room_of(prosody), strange)

    for member in members.values():
        message = await member.next_message()
        shown = ET.tostring(message, encoding="unicode")
        assert message.findtext("{jabber:client}body") == "a&b"
        assert len(message.findall(f"{{{OLD}}}encrypted/{{{OLD}}}header")) == 2
        assert "text" in shown


async def test_an_id_that_claims_to_be_from_the_readers_archive_is_taken_out(
    prosody: Prosody, members: Members
) -> None:
    bob = members["bob"]
    claim = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{bob.jid}' id='forged'/>"
    say(members["alice"], room_of(prosody), old_message([10, 20, 30]) + claim)

    message = await bob.next_message()

    claimed = [one.get("id") for one in message.iter("{urn:xmpp:sid:0}stanza-id")]
    assert "forged" not in claimed
    assert len(claimed) == 1  # the room's own
    assert numbers_in(message) == [20]


async def test_who_blocks_an_author_hears_nothing_of_them(
    prosody: Prosody, members: Members
) -> None:
    room, bob = room_of(prosody), members["bob"]
    nick = f"<item jid='{room}/alice'/>"
    await bob.ask(f"<block xmlns='urn:xmpp:blocking'>{nick}</block>", kind="set")

    say(members["alice"], room, old_message([10, 20, 30]))
    await members["carol"].next_message()
    say(members["carol"], room, old_message([11, 21, 31]))

    assert numbers_in(await bob.next_message()) == [21]


async def test_each_session_of_an_account_gets_each_message_once(
    prosody: Prosody, members: Members
) -> None:
    room, carol = room_of(prosody), members["carol"]
    async with LightMember(carol.jid, "pw", prosody.c2s_port) as second:
        await second.join(room, "carol")

        for number in (30, 31):
            say(members["alice"], room, old_message([10, number]))

        for session in (carol, second):
            heard = [numbers_in(await session.next_message()) for _ in range(2)]
            assert heard == [[30], [31]]
