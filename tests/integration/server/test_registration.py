"""Invites on a real Prosody, as a guest's first connection meets them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import Invite, OnionAddress
from xmpp_onion.server import Prosody

pytestmark = pytest.mark.prosody

STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
STREAMS = "{http://etherx.jabber.org/streams}"


class Guest:
    """A bare XMPP stream without TLS, as on an onion, before any log-in."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(["start", "end"])
        self._depth = 0
        self._ready: list[ET.Element] = []

    async def open(self, onion: OnionAddress) -> ET.Element:
        """Open the stream and return its features."""
        return await self.ask(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
            f"to='{onion}'>"
        )

    async def ask(self, text: str) -> ET.Element:
        """Send something and return the next element of the stream."""
        self._writer.write(text.encode())
        async with asyncio.timeout(60):
            while not self._ready:
                data = await self._reader.read(8192)
                assert data, "the server closed the connection"
                self._parser.feed(data)
                self._collect()
        return self._ready.pop(0)

    async def show_token(self, onion: OnionAddress, token: str) -> str:
        """Show an invite (XEP-0445), and return ``result`` or the error."""
        return _outcome(
            await self.ask(
                f"<iq type='set' id='p' to='{onion}'>"
                f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>"
            )
        )

    async def register(self, username: str) -> str:
        """Ask for an account (XEP-0077), and return ``result`` or the error."""
        return _outcome(
            await self.ask(
                "<iq type='set' id='r'><query xmlns='jabber:iq:register'>"
                f"<username>{username}</username><password>pw</password>"
                "</query></iq>"
            )
        )

    def _collect(self) -> None:
        for event in self._parser.read_events():
            self._depth += 1 if event[0] == "start" else -1
            element = event[-1]
            if event[0] == "end" and self._depth == 1:
                assert isinstance(element, ET.Element)
                self._ready.append(element)


def _outcome(iq: ET.Element) -> str:
    if iq.get("type") == "result":
        return "result"
    error = next(child for child in iq if child.tag.endswith("error"))
    return next(child.tag for child in error).removeprefix(STANZAS)


@asynccontextmanager
async def connect(prosody: Prosody) -> AsyncIterator[Guest]:
    reader, writer = await asyncio.open_connection("127.0.0.1", prosody.c2s_port)  # noqa: TID251 - the far end of a test, on loopback
    try:
        yield Guest(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def try_invite(prosody: Prosody, invite: Invite, username: str) -> list[str]:
    async with connect(prosody) as guest:
        await guest.open(prosody.onion)
        shown = await guest.show_token(prosody.onion, invite.token)
        return [shown, await guest.register(username)]


async def test_an_invite_makes_one_account_and_no_second(prosody: Prosody) -> None:
    invite = await prosody.invite()

    assert await try_invite(prosody, invite, "alice") == ["result", "result"]
    assert await try_invite(prosody, invite, "bob") == ["forbidden", "not-acceptable"]


async def test_two_guests_with_one_invite_get_one_account(prosody: Prosody) -> None:
    invite = await prosody.invite()
    async with connect(prosody) as first, connect(prosody) as second:
        for guest in (first, second):
            await guest.open(prosody.onion)
            assert await guest.show_token(prosody.onion, invite.token) == "result"

        assert await first.register("alice") == "result"
        assert await second.register("bob") == "not-acceptable"


async def test_an_invite_for_a_name_makes_no_other_account(prosody: Prosody) -> None:
    invite = await prosody.invite("alice")
    assert invite.local == "alice"

    assert await try_invite(prosody, invite, "mallory") == ["result", "not-acceptable"]
    assert await try_invite(prosody, invite, "alice") == ["result", "result"]


async def test_nobody_registers_without_an_invite(prosody: Prosody) -> None:
    async with connect(prosody) as guest:
        await guest.open(prosody.onion)

        assert await guest.register("alice") == "not-acceptable"


async def test_an_invite_ends_when_it_says(prosody: Prosody) -> None:
    short = await prosody.invite(lifetime=timedelta(seconds=1))
    longer = await prosody.invite(lifetime=timedelta(hours=1))
    await asyncio.sleep(2.1)  # the server counts whole seconds

    assert await try_invite(prosody, short, "late") == ["forbidden", "not-acceptable"]
    assert await try_invite(prosody, longer, "early") == ["result", "result"]


async def test_scram_sha_256_is_the_only_way_in_without_tls(prosody: Prosody) -> None:
    await prosody.add_account("alice", "a password")
    async with connect(prosody) as guest:
        features = await guest.open(prosody.onion)

    sasl = "{urn:ietf:params:xml:ns:xmpp-sasl}"
    mechanisms = {item.text for item in features.iter(f"{sasl}mechanism")}
    assert "SCRAM-SHA-256" in mechanisms
    assert not mechanisms & {"PLAIN", "LOGIN", "ANONYMOUS", "SCRAM-SHA-1"}


async def test_tls_is_offered_and_not_required(prosody: Prosody) -> None:
    async with connect(prosody) as guest:
        features = await guest.open(prosody.onion)

    starttls = features.find("{urn:ietf:params:xml:ns:xmpp-tls}starttls")
    assert starttls is not None
    assert not starttls.findall("*")
