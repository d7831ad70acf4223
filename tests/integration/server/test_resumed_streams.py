"""A stream that is resumed goes on with what came on its new connection.

Prosody alone reads on with the parser of the connection that broke: what was begun
behind the request is lost, and what was half said before it swallows all the rest.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

SM = "urn:xmpp:sm:3"
ASK = f"<r xmlns='{SM}'/>"
STREAMS = "http://etherx.jabber.org/streams"
FEATURE = "{urn:xmpp-onion:resumption:0}resumption"


class Resumer(LightMember):
    """Has its stream counted, and goes on with it on another connection."""

    stream = ""

    async def hear(self, name: str) -> int:
        """Return the count in the next answer of that name."""
        answer = await self.next(lambda one: one.tag == f"{{{SM}}}{name}")
        return int(answer.attrib.get("h", "0"))

    async def begin(self) -> None:
        self.send(f"<enable xmlns='{SM}' resume='true'/>")
        enabled = await self.next(lambda one: one.tag == f"{{{SM}}}enabled")
        self.stream = enabled.attrib["id"]

    def resume(self, stream: str, behind: str) -> None:
        self.send(f"<resume xmlns='{SM}' h='0' previd='{stream}'/>{behind}")


@pytest.fixture
async def alice(prosody: Prosody) -> JID:
    return await prosody.add_account("alice", "pw")


@asynccontextmanager
async def logged_in(alice: JID, prosody: Prosody) -> AsyncIterator[Resumer]:
    """Yield a member who is in, and has not said yet how the stream begins."""
    member = Resumer(alice, "pw", prosody.c2s_port)
    await member.connect()
    try:
        await member._log_in()
        await member._open()
        yield member
    finally:
        await member.__aexit__(None, None, None)


async def begin(alice: JID, prosody: Prosody, last: str = "") -> str:
    """Begin a stream whose connection breaks after ``last``; return its id."""
    async with Resumer(alice, "pw", prosody.c2s_port) as member:
        await member.begin()
        member.send(ASK + last)
        await member.hear("a")  # it has read that
        return member.stream


def message(alice: JID, size: int = 0) -> str:
    return f"<message to='{alice.domain}'><body>{'x' * size}</body></message>"


def ping(name: str) -> str:
    return f"<iq type='get' id='{name}'><ping xmlns='urn:xmpp:ping'/></iq>"


async def test_what_is_said_behind_the_request_may_come_in_pieces(
    alice: JID, prosody: Prosody
) -> None:
    stream = await begin(alice, prosody)
    text = message(alice)
    async with logged_in(alice, prosody) as again:
        again.resume(stream, text + text[:20])
        await again.hear("resumed")
        again.send(text[20:] + text + ASK)

        assert await again.hear("a") == 3


async def test_half_a_stanza_of_the_earlier_connection_is_forgotten(
    alice: JID, prosody: Prosody
) -> None:
    text = message(alice)
    stream = await begin(alice, prosody, text[:20])
    async with logged_in(alice, prosody) as again:
        again.resume(stream, "")
        await again.hear("resumed")
        again.send(text + ASK)

        assert await again.hear("a") == 1


async def test_halves_of_two_stanzas_do_not_make_one(
    alice: JID, prosody: Prosody
) -> None:
    earlier, later = ping("earlier"), ping("later")
    stream = await begin(alice, prosody, earlier[:-12])
    async with logged_in(alice, prosody) as again:
        again.resume(stream, later[:-12])
        await again.hear("resumed")
        again.send(later[-12:] + ASK)
        answer = await again.next(lambda one: one.tag == "{jabber:client}iq")

        assert answer.get("id") == "later"
        assert await again.hear("a") == 1


async def test_a_stanza_after_it_may_be_as_long_as_ever(
    alice: JID, prosody: Prosody
) -> None:
    stream = await begin(alice, prosody)
    async with logged_in(alice, prosody) as again:
        again.resume(stream, "")
        await again.hear("resumed")
        again.send(message(alice, 200_000) + ASK)

        assert await again.hear("a") == 1


async def test_what_is_no_xml_is_refused_as_ever(alice: JID, prosody: Prosody) -> None:
    stream = await begin(alice, prosody)
    async with logged_in(alice, prosody) as again:
        again.resume(stream, "")
        await again.hear("resumed")
        again.send("<message></presence>")
        error = await again.next(lambda one: one.tag == f"{{{STREAMS}}}error")

        assert error[0].tag.endswith("}not-well-formed")


async def test_it_is_told_to_who_logs_in(alice: JID, prosody: Prosody) -> None:
    member = Resumer(alice, "pw", prosody.c2s_port)
    features = await member.connect()

    assert features.find(FEATURE) is not None
    await member.__aexit__(None, None, None)
