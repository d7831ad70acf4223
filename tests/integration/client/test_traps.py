"""What the bare libraries let in or lose, and our client does not.

tests/hostile/traps shows each trap on the libraries as they are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from xmpp_onion import Account, Client
from xmpp_onion.chat import write_event
from xmpp_onion.store import Outbox
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

CANARY = "canary-4711"
FORGED = (
    f"<body xml:lang='de'>{CANARY}</body><subject>{CANARY}</subject>"
    f"<thread>{CANARY}</thread>"
    f"<x xmlns='jabber:x:oob'><url>https://{CANARY}</url></x>"
    f"<nick xmlns='http://jabber.org/protocol/nick'>{CANARY}</nick>"
    f"<html xmlns='http://jabber.org/protocol/xhtml-im'>{CANARY}</html>"
)


async def test_what_stands_beside_the_envelope_is_no_part_of_the_message(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, forged = Outbox.put, []

    async def put_more(self: Outbox, stanza_xml: str, **names: Any) -> Any:
        forged.append(stanza_xml.replace("</message>", f"{FORGED}</message>"))
        return await put(self, forged[-1], **names)

    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(60),
    ):
        monkeypatch.setattr(Outbox, "put", put_more)
        await alice.send(bob.jid, "hello")
        message = await anext(bob.messages())

    assert CANARY in forged[0]
    assert message.text == "hello"
    assert CANARY not in f"{message!r} {write_event(message)}"
