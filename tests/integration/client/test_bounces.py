"""What comes back while its sender is away, as from a server that was not reached."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, DeliveryFailed, DeliveryState
from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


async def bounce(prosody: Prosody, to: JID, sender: JID, message_id: str) -> None:
    """Let the server say that it reached nobody, as mod_s2s does."""
    text = (
        f"<message type='error' to='{to}' from='{sender}' id='{message_id}'>"
        "<error type='wait'><remote-server-timeout "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    )
    await ask(
        prosody.data,
        f"local host = prosody.hosts[{lua_string(to.domain)}]; "
        f"local stanza = require 'util.xml'.parse({lua_string(text)}); "
        "prosody.core_post_stanza(host, stanza); return ''",
    )


async def test_a_bounce_that_comes_while_its_sender_is_away_is_told_later(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody
) -> None:
    account, bob = await enrol("alice"), await enrol("bob")
    async with Client(bob, tor=wire):
        async with Client(account, tor=wire) as alice:
            sent = await alice.send(bob.jid, "hello")
            full = JID(str(alice._session.jid))
        await bounce(prosody, full, bob.jid, sent.id)

    async with Client(account, tor=wire) as alice, asyncio.timeout(60):
        event = await anext(alice.events())
        delivery = await alice.delivery(sent.id)

    assert isinstance(event, DeliveryFailed)
    assert event.id == sent.id
    assert delivery is not None
    assert delivery.state is DeliveryState.FAILED
