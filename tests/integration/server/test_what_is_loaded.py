"""Which parts a real Prosody runs, and what it says about itself to whom."""

import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.integration.server.test_federation import Place
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask
from xmpp_onion.testing.circuit import call
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import SocksHub

pytestmark = pytest.mark.prosody

GOLDEN = Path(__file__).parent / "golden"
INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
OWNER = "http://jabber.org/protocol/muc#owner"
ADMIN = "http://jabber.org/protocol/muc#admin"
COMMANDS = "http://jabber.org/protocol/commands"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
DATA = "{jabber:x:data}"
REFUSED = {"forbidden", "item-not-found", "service-unavailable", "not-allowed"}
CONDITIONS = REFUSED | {"registration-required", "not-authorized", "bad-request"}
DANGEROUS = (
    "http://jabber.org/protocol/admin#add-user",
    "http://jabber.org/protocol/admin#announce",
    "http://jabber.org/protocol/admin#shutdown",
    "http://prosody.im/protocol/config#reload",
    "http://prosody.im/protocol/hosts#activate",
    "http://prosody.im/protocol/modules#load",
    "urn:xmpp:invite#create-account",
)
LOADED = """
local found, manager = pcall(require, "prosody.core.modulemanager")
if not found then manager = require "core.modulemanager" end
local lines = { }
for name in pairs(manager.get_modules("*") or { }) do
	table.insert(lines, "global "..name)
end
for host in pairs(prosody.hosts) do
	local kind = host:match("^(%a+)%.") or "host"
	for name in pairs(manager.get_modules(host)) do
		table.insert(lines, kind.." "..name)
	end
end
table.sort(lines)
return table.concat(lines, " / ")
"""


@pytest.fixture
async def alice(prosody: Prosody) -> AsyncIterator[LightMember]:
    jid = await prosody.add_account("alice", "pw")
    async with LightMember(jid, "pw", prosody.c2s_port) as member:
        yield member


def assert_is(name: str, prosody: Prosody, lines: list[str]) -> None:
    """Compare with what was looked at by somebody, once for each series."""
    series = "13" if prosody.version.startswith("13") else "0.12"
    text = "".join(f"{line.replace(prosody.onion, 'ONION')}\n" for line in lines)
    golden = GOLDEN / f"{name}-{series}.txt"
    assert text == golden.read_text("utf-8"), f"{name}, {series}:\n{text}"


async def test_these_modules_are_loaded_and_no_others(prosody: Prosody) -> None:
    assert_is("modules", prosody, (await ask(prosody.data, LOADED)).split(" / "))


def describe(answer: ET.Element) -> list[str]:
    """Return what an answer tells, a line each, in order."""
    lines = []
    for element in answer.iter():
        name = element.tag.rpartition("}")[2]
        if name in {"identity", "feature", "item", "field"}:
            keys = sorted(set(element.keys()) - {"label"})
            told = " ".join(f"{key}={element.get(key)}" for key in keys)
            values = sorted(each.text or "" for each in element.iter(f"{DATA}value"))
            lines.append(f"  {name} {told} {' '.join(values)}".rstrip())
    return sorted(lines)


async def test_this_is_what_a_member_is_told(
    prosody: Prosody, alice: LightMember
) -> None:
    own = str(prosody.onion)
    lines: list[str] = []
    bob = await prosody.add_account("bob", "pw")
    await alice.create(f"secret@muc.{own}", "alice")
    for place in (own, f"muc.{own}", f"share.{own}", str(alice.jid), str(bob)):
        lines += await ask_about(alice, place)

    assert_is("member", prosody, lines)


async def ask_about(member: LightMember, place: str) -> list[str]:
    """Return what somebody is told about a place, and what is there."""
    lines = []
    for what, question in (("info", INFO), ("items", ITEMS)):
        try:
            told = describe(await member.ask(question, to=place))
        except AssertionError as refused:
            told = ["  " + " ".join(conditions(str(refused)))]
        lines += [f"{what} of {place}", *told]
    return lines


def conditions(error: str) -> list[str]:
    found = re.findall(r"<(?:\w+:)?([a-z-]+)[^<>]*?/>", error.partition("error")[2])
    return [each for each in found if each in CONDITIONS]


async def test_this_is_what_somebody_of_another_server_is_told(
    tmp_path: Path, prosody_program: str
) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(SocksHub())
        here = await Place.open(stack, tmp_path / "alice", hub, prosody_program)
        there = await Place.open(stack, tmp_path / "mallory", hub, prosody_program)
        own = str(here.server.onion)
        hub.routes[f"muc.{own}"] = hub.routes[f"share.{own}"] = hub.routes[own]
        await here.person.create(f"secret@muc.{own}", "alice")
        lines: list[str] = []
        for place in (own, f"muc.{own}", f"share.{own}", here.jid, f"nobody@{own}"):
            lines += await ask_about(there.person, place)

    assert_is("stranger", here.server, lines)


async def test_this_is_what_a_guest_is_told(prosody: Prosody) -> None:
    """Before a log-in: the features of the stream, and nothing of anybody."""
    await prosody.add_account("alice", "pw")
    own = prosody.onion
    async with call(prosody.c2s_port) as caller:
        caller.open(own)
        heard = await caller.hear("</stream:features>")
    features = heard.partition("<stream:features")[2]
    lines = sorted(re.findall(r"<([\w:]+ xmlns='[^']*'|[\w-]+>[^<]+)", features))
    for place in (own, f"muc.{own}", f"alice@{own}", f"nobody@{own}"):
        for question in (INFO, ITEMS, "<query xmlns='jabber:iq:version'/>"):
            async with call(prosody.c2s_port) as caller:
                caller.open(own)
                await caller.hear("</stream:features>")
                caller.heard = ""
                caller.say(f"<iq type='get' id='i' to='{place}'>{question}</iq>")
                said = await caller.ended_or("</iq>") and caller.heard
            lines.append(f"{place}: {conditions(str(said)) if said else 'closed'}")

    assert_is("guest", prosody, lines)


async def test_a_new_room_is_for_its_members_alone(
    prosody: Prosody, alice: LightMember
) -> None:
    room = f"secret@muc.{prosody.onion}"
    await alice.create(room, "alice")
    bob = await prosody.add_account("bob", "pw")

    told = describe(await alice.ask(INFO, to=room))
    form = describe(await alice.ask(f"<query xmlns='{OWNER}'/>", to=room))
    assert_is("room", prosody, [*told, "the form", *form])
    features = " ".join(told)
    for wanted in (
        "muc_membersonly",
        "muc_nonanonymous",
        "muc_persistent",
        "muc_hidden",
    ):
        assert f"feature var={wanted}" in features
    async with LightMember(bob, "pw", prosody.c2s_port) as other:
        listed = await other.ask(ITEMS, to=f"muc.{prosody.onion}")
        assert not [item for item in listed.iter() if item.tag.endswith("}item")]
        for payload in (
            "<query xmlns='urn:xmpp:mam:2'/>",
            f"<query xmlns='{OWNER}'/>",
            f"<query xmlns='{ADMIN}'><item affiliation='member'/></query>",
        ):
            kind = "set" if "mam" in payload else "get"
            with pytest.raises(AssertionError) as refused:
                await other.ask(payload, to=room, kind=kind)
            assert conditions(str(refused.value))[0] in {"forbidden", "not-allowed"}
        other.send(
            f"<presence to='{room}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        answer = await other.next(lambda stanza: stanza.get("type") == "error")
        assert conditions(ET.tostring(answer, encoding="unicode")) == [
            "registration-required"
        ]


async def test_who_is_no_admin_commands_nothing(
    prosody: Prosody, alice: LightMember
) -> None:
    own = prosody.onion
    listed = []
    for place in (own, f"muc.{own}", f"share.{own}"):
        for node in DANGEROUS:
            command = f"<command xmlns='{COMMANDS}' node='{node}' action='execute'/>"
            with pytest.raises(AssertionError) as refused:
                await alice.ask(command, to=place, kind="set")
            assert conditions(str(refused.value))[0] in REFUSED, (place, node)
        question = ITEMS.replace("/>", f" node='{COMMANDS}'/>")
        with contextlib.suppress(AssertionError):
            listed += describe(await alice.ask(question, to=place))

    assert_is("commands", prosody, listed)


async def test_nobody_but_the_machine_itself_reaches_the_shell(
    prosody: Prosody, alice: LightMember
) -> None:
    """It is asked at a socket that the server's own user can open, and by no stanza."""
    socket = prosody.data / "prosody.sock"
    assert socket.stat().st_mode & 0o007 == 0
    assert prosody.data.stat().st_mode & 0o077 == 0
    alice.send("<repl-input xmlns='xmpp:prosody.im/admin_socket'>1 + 1</repl-input>")
    with pytest.raises(AssertionError, match="closed the stream"):
        await alice.next(lambda stanza: "repl-result" in stanza.tag)


async def test_a_member_invites_contacts_and_makes_no_account(
    prosody: Prosody, alice: LightMember
) -> None:
    answer = await alice.ask(
        f"<command xmlns='{COMMANDS}' node='urn:xmpp:invite#invite' action='execute'/>",
        to=str(prosody.onion), kind="set",
    )  # fmt: skip
    uri = next(
        value for value in (element.text or "" for element in answer.iter())
        if value.startswith("xmpp:")
    )  # fmt: skip

    assert "register" not in uri
    assert f"alice@{prosody.onion}" in uri


async def test_a_thousand_tries_to_register_keep_no_guest_from_an_account(
    prosody: Prosody,
) -> None:
    invite = await prosody.invite()
    register = (
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'>"
        "<username>{}</username><password>p</password></query></iq>"
    )
    show = (
        "<iq type='set' id='p' to='{}'><preauth xmlns='urn:xmpp:pars:0' token='{}'/>"
        "</iq>"
    )
    own = prosody.onion
    async with call(prosody.c2s_port) as mallory, call(prosody.c2s_port) as guest:
        for caller in (mallory, guest):
            caller.open(own)
            await caller.hear("</stream:features>")
            caller.heard = ""
        for number in range(500):
            mallory.say(register.format(f"m{number}"))
            mallory.say(show.format(own, f"guess-{number}"))
        guest.say(show.format(own, invite.token))
        assert "type='result'" in await guest.hear("/>")
        guest.heard = ""
        guest.say(register.format("alice"))
        assert "type='result'" in await guest.hear("/>")
        mallory.say(register.format("last").replace("id='r'", "id='last'"))
        answers = await mallory.hear("id='last'")

    assert answers.count("<iq ") == 1001
    assert answers.count("type='error'") == 1001
    assert not (prosody.data / "accounts" / "m0.dat").exists()
