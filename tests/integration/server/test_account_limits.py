"""What one account may have on a real Prosody, each ceiling at its edge."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from xml.etree import ElementTree as ET

import pytest

from tests.integration.server.uploads import UPLOAD
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

MAM = "urn:xmpp:mam:2"
ROSTER = "jabber:iq:roster"
OWNER = "http://jabber.org/protocol/muc#owner"
TOO_MUCH = "resource-constraint"


@pytest.fixture
async def alice(prosody: Prosody) -> AsyncIterator[LightMember]:
    jid = await prosody.add_account("alice", "pw")
    async with LightMember(jid, "pw", prosody.c2s_port) as member:
        yield member


async def with_less(prosody: Prosody, member: LightMember, **settings: int) -> None:
    """Restart the server with other numbers, and log in again.

    Raises:
        AssertionError: The configuration has no such number.
    """
    text = prosody.folder.config_file.read_text("utf-8")
    for name, value in settings.items():
        (line,) = [each for each in text.splitlines() if each.split()[:1] == [name]]
        text = text.replace(line, f"{name} = {value}")
    prosody.folder.config_file.write_text(text, "utf-8")
    await member.__aexit__(None, None, None)
    await prosody.restart()
    member._port = prosody.c2s_port
    await member.__aenter__()


async def fails(member: LightMember, payload: str, **where: str) -> str:
    """Ask for what is refused, and return the refusal."""
    with pytest.raises(AssertionError) as refused:
        await member.ask(payload, **where)
    return str(refused.value)


def contact(number: int) -> str:
    return f"<query xmlns='{ROSTER}'><item jid='c{number}@example.onion'/></query>"


async def test_two_thousand_contacts_and_no_more(
    prosody: Prosody, alice: LightMember
) -> None:
    await ask(  # each of them would be written with all others: that takes minutes
        prosody.data,
        f"""
        local found, manager = pcall(require, "prosody.core.rostermanager");
        if not found then manager = require "core.rostermanager"; end
        local roster = manager.load_roster("alice", {lua_string(prosody.onion)});
        for i = 1, 1999 do
            local item = {{ subscription = "none"; groups = {{}} }};
            roster["c"..i.."@example.onion"] = item;
        end
        manager.save_roster("alice", {lua_string(prosody.onion)}, roster);
        return "";
        """,
    )
    await alice.ask(contact(2000), kind="set")

    assert TOO_MUCH in await fails(alice, contact(2001), kind="set")
    await alice.ask(contact(7), kind="set")  # is there already
    for kind in ("subscribe", "subscribed"):
        alice.send(f"<presence id='{kind}' type='{kind}' to='new@{prosody.onion}'/>")
        answer = await alice.next(lambda one: one.get("type") == "error")
        assert TOO_MUCH in ET.tostring(answer, encoding="unicode")
    removal = contact(7).replace("/>", " subscription='remove'/>")
    await alice.ask(removal, kind="set")
    await alice.ask(contact(2001), kind="set")


def publication(node: str) -> str:
    return (
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        f"<publish node='{node}'><item id='x'><x xmlns='y'/></item></publish></pubsub>"
    )


async def test_two_hundred_nodes_and_no_more(
    prosody: Prosody, alice: LightMember
) -> None:
    lua = f"""
    local pep = prosody.hosts[{lua_string(prosody.onion)}].modules.pep;
    local count = 0;
    for _ in pairs(pep.get_pep_service("alice").nodes) do count = count + 1; end
    return count;
    """
    of_the_server = int(await ask(prosody.data, lua))
    for number in range(of_the_server, 200):
        await alice.ask(publication(f"n{number}"), kind="set")

    assert TOO_MUCH in await fails(alice, publication("n200"), kind="set")
    created = (
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='z'/></pubsub>"
    )
    assert TOO_MUCH in await fails(alice, created, kind="set")
    await alice.ask(publication("n199"), kind="set")  # is there already


async def test_a_node_has_256_items_and_the_oldest_makes_room(
    alice: LightMember,
) -> None:
    for number in range(257):
        await alice.publish("n", "<x xmlns='y'/>", item=f"i{number}", max_items="max")
    answer = await alice.ask(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'/></pubsub>"
    )

    kept = {item.get("id") for item in answer.iter() if item.tag.endswith("}item")}
    assert kept == {f"i{number}" for number in range(1, 257)}


async def test_fifty_things_in_private_storage_and_no_more(alice: LightMember) -> None:
    def kept(number: int, inside: str = "<x/>") -> str:
        thing = f"<p xmlns='n{number}'>{inside}</p>"
        return f"<query xmlns='jabber:iq:private'>{thing}</query>"

    for number in range(50):
        await alice.ask(kept(number), kind="set")

    assert TOO_MUCH in await fails(alice, kept(50), kind="set")
    await alice.ask(kept(7), kind="set")
    await alice.ask(kept(8, inside=""), kind="set")
    await alice.ask(kept(50), kind="set")


async def test_fifty_rooms_and_no_more(prosody: Prosody, alice: LightMember) -> None:
    for number in range(50):
        await alice.create(f"r{number}@muc.{prosody.onion}", "alice")
    alice.send(
        f"<presence to='r50@muc.{prosody.onion}/alice'>"
        "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
    )
    refused = await alice.next(lambda one: one.get("type") == "error")
    assert TOO_MUCH in ET.tostring(refused, encoding="unicode")

    bob = await prosody.add_account("bob", "pw")
    async with LightMember(bob, "pw", prosody.c2s_port) as other:
        await other.create(f"of-bob@muc.{prosody.onion}", "bob")
    gone = f"<query xmlns='{OWNER}'><destroy/></query>"
    await alice.ask(gone, to=f"r7@muc.{prosody.onion}", kind="set")
    await alice.create(f"r50@muc.{prosody.onion}", "alice")


async def test_who_is_made_an_owner_may_make_as_many_rooms(
    prosody: Prosody, alice: LightMember
) -> None:
    await with_less(prosody, alice, account_rooms=1)
    bob = await prosody.add_account("bob", "pw")
    room = f"r@muc.{prosody.onion}"
    await alice.create(room, "alice")
    item = f"<item affiliation='owner' jid='{bob}'/>"
    admin = "http://jabber.org/protocol/muc#admin"
    await alice.ask(f"<query xmlns='{admin}'>{item}</query>", to=room, kind="set")

    async with LightMember(bob, "pw", prosody.c2s_port) as other:
        await other.create(f"of-bob@muc.{prosody.onion}", "bob")


async def test_what_waits_longest_for_its_circuit_makes_room(
    prosody: Prosody, alice: LightMember
) -> None:
    async def bare_sessions() -> int:
        lua = f"""
        local account = prosody.bare_sessions[{lua_string(str(alice.jid))}];
        local count = 0;
        for _ in pairs(account.sessions) do count = count + 1; end
        return count;
        """
        return int(await ask(prosody.data, lua))

    async with AsyncExitStack() as stack:
        sleepers = []
        for _ in range(49):
            one = LightMember(alice.jid, "pw", prosody.c2s_port)
            sleepers.append(await stack.enter_async_context(one))
            one.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            await one.next(lambda stanza: stanza.tag.endswith("}enabled"))
        assert await bare_sessions() == 50
        one = LightMember(alice.jid, "pw", prosody.c2s_port)
        with pytest.raises(AssertionError, match="not-allowed"):  # all are there
            await one.__aenter__()
        await one.__aexit__(None, None, None)
        for one in sleepers[:10]:
            one._writer.transport.abort()
        await all_are_counted(prosody, hibernating=10)

        for _ in range(10):
            one = LightMember(alice.jid, "pw", prosody.c2s_port)
            await stack.enter_async_context(one)
            assert await bare_sessions() == 50


async def all_are_counted(prosody: Prosody, *, hibernating: int) -> None:
    lua = """
    local count = 0;
    for _, session in pairs(prosody.full_sessions) do
        if session.hibernating then count = count + 1; end
    end
    return count;
    """
    async with asyncio.timeout(60):
        while int(await ask(prosody.data, lua)) < hibernating:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_a_page_of_an_archive_has_1000_messages(alice: LightMember) -> None:
    alice.send("<presence/>")
    for number in range(1001):
        alice.send(
            f"<message type='chat' to='{alice.jid}' id='m{number}'><body>x</body>"
            "</message>"
        )
    await alice.next(lambda one: one.get("id") == "m1000")
    sizes = []
    for wanted in (1000, 1001):
        page = f"<set xmlns='http://jabber.org/protocol/rsm'><max>{wanted}</max></set>"
        alice.send(f"<iq type='set' id='a'><query xmlns='{MAM}'>{page}</query></iq>")
        got = 0
        while (stanza := await alice.next()).get("id") != "a":
            got += stanza.find(f"{{{MAM}}}result") is not None
        fin = stanza.find(f"{{{MAM}}}fin")
        assert fin is not None
        sizes.append((got, fin.get("complete", "false")))

    assert sizes == [(1000, "false"), (1000, "false")]


async def test_history_of_a_room_is_fifty_messages(
    prosody: Prosody, alice: LightMember
) -> None:
    room = f"r@muc.{prosody.onion}"
    await alice.join(room, "alice")
    form = (
        f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'>"
        "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig"
        "</value></field><field var='{}'><value>51</value></field></x></query>"
    )
    name = "muc#roomconfig_historylength"
    await alice.ask(form.format(name), to=room, kind="set")

    answer = await alice.ask(f"<query xmlns='{OWNER}'/>", to=room)
    field = answer.find(f".//*[@var='{name}']")
    assert field is not None
    assert field.findtext("{jabber:x:data}value") == "50"


def slot(size: int) -> str:
    return f"<request xmlns='{UPLOAD}' filename='a.bin' size='{size}'/>"


async def test_an_object_has_sixteen_mebibytes(
    prosody: Prosody, alice: LightMember
) -> None:
    share, most = f"share.{prosody.onion}", 16 * 1024 * 1024
    await alice.ask(slot(most), to=share)

    assert "file-too-large" in await fails(alice, slot(most + 1), to=share)


async def test_an_account_stores_three_gibibytes_a_day(
    prosody: Prosody, alice: LightMember
) -> None:
    share, most = f"share.{prosody.onion}", 16 * 1024 * 1024
    for _ in range(191):
        await alice.ask(slot(most), to=share)
    await alice.ask(slot(most - 1), to=share)
    await alice.ask(slot(1), to=share)

    assert TOO_MUCH in await fails(alice, slot(1), to=share)
    bob = await prosody.add_account("bob", "pw")
    async with LightMember(bob, "pw", prosody.c2s_port) as other:
        await other.ask(slot(most), to=share)


async def test_everybody_together_stores_ten_gibibytes(
    prosody: Prosody, alice: LightMember
) -> None:
    share, most = f"share.{prosody.onion}", 16 * 1024 * 1024
    async with AsyncExitStack() as stack:
        for number in range(4):
            jid = await prosody.add_account(f"p{number}", "pw")
            one = LightMember(jid, "pw", prosody.c2s_port)
            await stack.enter_async_context(one)
            for _ in range(192 if number < 3 else 64):
                await one.ask(slot(most), to=share)

    assert TOO_MUCH in await fails(alice, slot(1), to=share)


async def test_a_session_that_is_away_keeps_five_hundred_stanzas(
    prosody: Prosody, alice: LightMember
) -> None:
    bob = await prosody.add_account("bob", "pw")
    resumed = []
    for waiting in (500, 501):
        sleeper = LightMember(bob, "pw", prosody.c2s_port)
        await sleeper.__aenter__()
        sleeper.send("<presence/><enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        enabled = await sleeper.next(lambda one: one.tag.endswith("}enabled"))
        sleeper._writer.transport.abort()
        await all_are_counted(prosody, hibernating=1)
        for number in range(waiting):
            alice.send(
                f"<message type='chat' to='{bob}' id='m{number}'><body>x</body>"
                "</message>"
            )
        await alice.ask("<ping xmlns='urn:xmpp:ping'/>")
        back = LightMember(bob, "pw", prosody.c2s_port)
        await back.connect()
        await back._log_in()
        await back._open()
        back.send(f"<resume xmlns='urn:xmpp:sm:3' h='0' previd='{enabled.get('id')}'/>")
        try:
            answer = await back.next()
            resumed.append(answer.tag.endswith("}resumed"))
        except AssertionError:  # 0.12 ends the stream
            resumed.append(False)
        await back.__aexit__(None, None, None)

    assert resumed == [True, False]
