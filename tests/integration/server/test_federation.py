"""Servers that talk to each other, through a proxy that stands in for Tor."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Federation
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import SocksHub
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody

MESSAGE = "{jabber:client}message"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
UNKNOWN = OnionAddress.from_public_key(bytes([7] * 32))


@dataclass(frozen=True, slots=True)
class Place:
    """A server and somebody who is logged in there."""

    server: Prosody
    person: LightMember

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        folder: Path,
        hub: SocksHub,
        program: str,
        *,
        federation: Federation = Federation.OPEN,
        peers: tuple[OnionAddress, ...] = (),
    ) -> Self:
        initialise(folder)
        place = Folder(folder, find_unprivileged_user())
        options = replace(
            place.read_options(),
            federation=federation,
            peers=peers,
            socks=Endpoint("127.0.0.1", hub.port),
        )
        place.write_options(options)
        server = await stack.enter_async_context(Prosody(folder, program=program))
        hub.routes[str(server.onion)] = server.options.ports.s2s
        jid = await server.add_account(folder.name, "pw")
        person = LightMember(jid, "pw", server.c2s_port)
        await stack.enter_async_context(person)
        person.send("<presence/>")
        return cls(server, person)

    @property
    def jid(self) -> str:
        return str(self.person.jid)

    def say(self, to: str, text: str) -> None:
        self.person.send(
            f"<message type='chat' to='{to}' id='{text}'><body>{text}</body></message>"
        )

    async def hears(self) -> ET.Element:
        return await self.person.next(lambda stanza: stanza.tag == MESSAGE)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def hub() -> AsyncIterator[SocksHub]:
    async with SocksHub() as hub:
        yield hub


@pytest.fixture
async def alice(
    stack: AsyncExitStack, tmp_path: Path, hub: SocksHub, prosody_program: str
) -> Place:
    return await Place.open(stack, tmp_path / "alice", hub, prosody_program)


@pytest.fixture
async def bob(
    stack: AsyncExitStack, tmp_path: Path, hub: SocksHub, prosody_program: str
) -> Place:
    return await Place.open(stack, tmp_path / "bob", hub, prosody_program)


def error_of(message: ET.Element) -> tuple[str, str, str]:
    """Return kind, condition and text of a bounce."""
    error = message.find("{jabber:client}error")
    assert error is not None, ET.tostring(message)
    condition = next(child.tag for child in error if not child.tag.endswith("}text"))
    text = error.findtext(f"{STANZAS}text") or ""
    return error.get("type", ""), condition.removeprefix(STANZAS), text


async def test_two_servers_talk_both_ways(
    alice: Place, bob: Place, hub: SocksHub
) -> None:
    alice.say(bob.jid, "hello")
    first = await bob.hears()
    bob.say(alice.jid, "hello-yourself")
    second = await alice.hears()

    assert (first.get("type"), first.findtext("{jabber:client}body")) == (
        "chat",
        "hello",
    )
    assert (first.get("from") or "").startswith(alice.jid)
    assert second.findtext("{jabber:client}body") == "hello-yourself"
    assert {request.port for request in hub.asked} == {5269}


async def test_an_unknown_onion_is_bounced_with_what_tor_said(alice: Place) -> None:
    alice.say(f"bob@{UNKNOWN}", "hello")

    kind, condition, text = error_of(await alice.hears())

    assert (kind, condition) == ("cancel", "remote-server-not-found")
    assert "no such onion service" in text
