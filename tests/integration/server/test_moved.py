"""A name that a server had tells its people where it is, and nobody else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import JID, Invite, OnionAddress
from xmpp_onion.errors import AuthenticationError, SessionError
from xmpp_onion.moves import MOVED, Move
from xmpp_onion.server import Prosody, rotate
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.session import register
from xmpp_onion.session.proof import PasswordProof
from xmpp_onion.session.remembered import SASL
from xmpp_onion.session.sasl2 import decode, encode
from xmpp_onion.session.scram import Scram, choose_mechanism
from xmpp_onion.session.wire import Wire
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.transport import Isolation, Purpose

pytestmark = pytest.mark.prosody

FRIEND = JID(f"friend@{OnionAddress.from_public_key(b'f' * 32)}")
STRANGER = JID(f"stranger@{OnionAddress.from_public_key(b's' * 32)}")
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


@pytest.fixture
async def moved(prosody_program: str, tmp_path: Path) -> AsyncIterator[Prosody]:
    """A server that moved, with one account, its contact, and a room with a member."""
    folder = tmp_path / "server"
    async with Prosody(folder, program=prosody_program) as prosody:
        await prosody.add_account("alice", "secret")
        await ask(
            prosody.data,
            f"""
            local onion, friend = {lua_string(prosody.onion)}, {lua_string(FRIEND)};
            local rosters = require "core.rostermanager";
            local roster = rosters.load_roster("alice", onion);
            roster[friend] = {{ subscription = "both"; groups = {{}} }};
            assert(rosters.save_roster("alice", onion, roster));
            local muc = prosody.hosts["muc."..onion].modules.muc;
            local room = assert(muc.create_room("friends@muc."..onion));
            assert(room:set_affiliation(true, friend, "member"));
            room:set_persistent(true);
            room:save(true);
            return "";
            """,
        )
    await rotate(folder)
    async with Prosody(folder, program=prosody_program) as prosody:
        yield prosody


def old_name(prosody: Prosody) -> OnionAddress:
    return prosody.options.former[0].onion


async def answers(
    prosody: Prosody, make: str, sender: JID, to: str
) -> list[ET.Element]:
    """Return what somebody of another server is answered to a stanza.

    Args:
        prosody: The server.
        make: Lua for the stanza; ``from`` and ``to`` are strings.
        sender: Who sends it.
        to: To whom.
    """
    found = await ask(
        prosody.data,
        f"""
        local found, st = pcall(require, "prosody.util.stanza");
        if not found then st = require "util.stanza"; end
        local sent = {{ }};
        local from, to = {lua_string(sender)}, {lua_string(to)};
        local host = to:match("@(.*)$") or to;
        local origin = {{
            type = "s2sin"; host = host; from_host = from:match("@(.*)$");
            send = function (stanza) sent[#sent + 1] = tostring(stanza); end;
            hosts = {{ }}; log = function () end;
        }};
        prosody.core_post_stanza(origin, {make});
        return table.concat(sent, "\\n");
        """,
    )
    return [ET.fromstring(line) for line in found.splitlines()]  # noqa: S314 - of our own server


MESSAGE = 'st.message({ type = "chat"; from = from; to = to; id = "1" }, "hi")'
PROBE = 'st.presence({ type = "probe"; from = from; to = to; id = "1" })'
SUBSCRIBE = 'st.presence({ type = "subscribe"; from = from; to = to; id = "1" })'
JOIN = (
    'st.presence({ from = from.."/x"; to = to.."/nick"; id = "1" })'
    ':tag("x", { xmlns = "http://jabber.org/protocol/muc" }):up()'
)
QUESTION = (
    'st.iq({ type = "get"; from = from; to = to; id = "1" })'
    ':tag("query", { xmlns = "http://jabber.org/protocol/disco#info" }):up()'
)


def condition(stanza: ET.Element) -> str:
    error = stanza.find("{*}error")
    assert error is not None
    assert stanza.get("type") == "error"
    return next(
        child.tag.removeprefix(STANZAS)
        for child in error
        if child.tag.startswith(STANZAS) and not child.tag.endswith("}text")
    )


@pytest.mark.parametrize("make", [MESSAGE, PROBE, SUBSCRIBE, QUESTION])
async def test_a_contact_is_told_where_somebody_went(moved: Prosody, make: str) -> None:
    old = old_name(moved)

    [answer] = await answers(moved, make, FRIEND, f"alice@{old}")

    assert condition(answer) == "gone"
    assert answer.findtext(f".//{STANZAS}gone") == f"xmpp:alice@{moved.onion}"
    document = answer.findtext(f".//{{{MOVED}}}moved")
    assert document is not None
    move = Move.read(document, old=old, now=datetime.now(UTC))
    assert move.new == moved.onion
    assert move.certificate == moved.certificate_fingerprint
    assert answer.get("from") == f"alice@{old}"


async def test_a_member_is_told_where_a_room_went(moved: Prosody) -> None:
    old = old_name(moved)

    [answer] = await answers(moved, JOIN, FRIEND, f"friends@muc.{old}")

    assert condition(answer) == "gone"
    gone = answer.findtext(f".//{STANZAS}gone")
    assert gone == f"xmpp:friends@muc.{moved.onion}/nick"


async def test_a_stranger_learns_no_more_than_of_an_address_that_is_none(
    moved: Prosody,
) -> None:
    old = old_name(moved)
    places = (f"alice@{old}", f"nobody@{old}", f"friends@muc.{old}", f"none@muc.{old}")

    for make in (MESSAGE, QUESTION):
        found = [await answers(moved, make, STRANGER, place) for place in places]
        friends = [await answers(moved, make, FRIEND, places[n]) for n in (1, 3)]
        for [answer] in found + friends:
            assert condition(answer) == "service-unavailable"
            assert moved.onion not in ET.tostring(answer, "unicode")
    for make in (PROBE, SUBSCRIBE, JOIN):
        for place in places:
            assert await answers(moved, make, STRANGER, place) == []


async def test_what_is_an_answer_is_not_answered(moved: Prosody) -> None:
    to = f"alice@{old_name(moved)}"

    for kind in ("error", "unavailable", "subscribed", "unsubscribe"):
        make = f'st.presence({{ type = "{kind}"; from = from; to = to }})'
        assert await answers(moved, make, FRIEND, to) == []
    make = 'st.message({ type = "error"; from = from; to = to })'
    assert await answers(moved, make, FRIEND, to) == []


async def log_in(prosody: Prosody, password: str) -> tuple[ET.Element, str]:
    """Return what is offered after a login under the old name, and how it ends."""
    old, dialer = old_name(prosody), LoopbackDialer(prosody.c2s_port)
    sock = await dialer.dial(old, 5222, isolation=Isolation("alice", Purpose.XMPP))
    wire = Wire()
    await wire.attach(sock)
    try:
        features = await wire.open_stream(old)
        offered = [each.text or "" for each in features.iter(f"{{{SASL}}}mechanism")]
        proof = PasswordProof(Scram(choose_mechanism(offered), "alice", password))
        wire.write(
            f"<auth xmlns='{SASL}' mechanism='{proof.mechanism}'>"
            f"{encode(proof.first())}</auth>"
        )
        challenge = decode((await wire.next_element()).text)
        answer = encode(await proof.answer(challenge))
        wire.write(f"<response xmlns='{SASL}'>{answer}</response>")
        success = await wire.next_element()
        if success.tag != f"{{{SASL}}}success":
            raise AuthenticationError("refused")
        proof.verify(decode(success.text))
        features = await wire.open_stream(old)
        async with asyncio.timeout(60):
            await wire.wait_lost()
        return features, wire.stream_error
    finally:
        await wire.close()
        sock.close()


async def test_who_logs_in_is_told_and_other_clients_see_that_the_host_is_gone(
    moved: Prosody,
) -> None:
    features, end = await log_in(moved, "secret")

    assert features.findtext(f"{{{MOVED}}}moved")
    for name in ("bind", "sm", "mechanisms", "starttls"):
        assert features.find(f"{{*}}{name}") is None
    assert end == "host-gone"


async def test_without_the_password_nobody_is_told(moved: Prosody) -> None:
    with pytest.raises(AuthenticationError):
        await log_in(moved, "wrong")
    dialer = LoopbackDialer(moved.c2s_port)
    invite = Invite.build(old_name(moved), "a-token-of-nobody")
    with pytest.raises(SessionError) as caught:
        await register(invite, "eve", "secret", tor=dialer)
    assert moved.onion not in str(caught.value)


async def test_nobody_is_told_when_the_time_is_over(moved: Prosody) -> None:
    options = moved.folder.read_options()
    ended = replace(options.former[0], until=datetime.now(UTC) - timedelta(seconds=1))
    moved.folder.write_options(replace(options, former=(ended,)))
    await moved.restart()

    with pytest.raises(SessionError) as caught:
        await log_in(moved, "secret")

    assert "host-gone" in caught.value.why
    [answer] = await answers(moved, MESSAGE, FRIEND, f"alice@{old_name(moved)}")
    assert condition(answer) == "service-unavailable"
    assert moved.onion not in ET.tostring(answer, "unicode")
