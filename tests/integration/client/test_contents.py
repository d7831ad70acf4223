"""What travels beside the text, and what must not."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Message
from xmpp_onion.chat import line
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

# What a server can put beside the ciphertext; each says something else.
SIBLINGS = [
    "<body>canary</body>",
    "<body xml:lang='de'>canary</body>",
    "<subject>canary</subject>",
    "<x xmlns='jabber:x:oob'><url>https://canary</url></x>",
    "<replace xmlns='urn:xmpp:message-correct:0' id='canary'/>",
    "<reply xmlns='urn:xmpp:reply:0' id='canary'/>",
    "<reactions xmlns='urn:xmpp:reactions:0' id='canary'/>",
    "<retract xmlns='urn:xmpp:message-retract:1' id='canary'/>",
    "<received xmlns='urn:xmpp:receipts' id='canary'/>",
    "<displayed xmlns='urn:xmpp:chat-markers:0' id='canary'/>",
    "<html xmlns='http://jabber.org/protocol/xhtml-im'><p>canary</p></html>",
    "<nick xmlns='http://jabber.org/protocol/nick'>canary</nick>",
    "<delay xmlns='urn:xmpp:delay' stamp='1901-01-01T00:00:00Z'>canary</delay>",
]


async def read_one(client: Client) -> Message:
    async with asyncio.timeout(30):
        return await anext(client.messages())


async def test_nothing_beside_the_ciphertext_gets_into_a_message(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alices_wire = LoopbackDialer(wire.port)
    async with (
        Client(await enrol("alice"), tor=alices_wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await alice.send(bob.jid, "warm")
        alices_wire.refusing = True
        alices_wire.cut()  # what is queued now stays in the outbox
        await alice.queue(bob.jid, "the text")
        (row,) = await alice._outbox.pending()
        async with alice._database.transaction():
            await alice._outbox.revise(
                row.id,
                row.stanza_xml.replace("</message>", "".join(SIBLINGS) + "</message>"),
            )
        alices_wire.refusing = False
        messages = bob.messages()
        async with asyncio.timeout(60):
            assert (await anext(messages)).text == "warm"
            message = await anext(messages)

    assert message.text == "the text"
    assert (message.reply_to, message.id) == ("", row.message_id)
    assert "canary" not in json.dumps(line(message))
    assert message.at.year > 1901


async def test_metadata_is_sent_in_the_clear_only_if_the_caller_says_so(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        send = alice._session.send

        def listen(xml: str, message_id: str) -> Awaitable[None]:
            sent.append(xml)
            return send(xml, message_id)

        monkeypatch.setattr(alice._session, "send", listen)
        for allow in (False, True):
            await alice.send(
                bob.jid, "yes", reply_to="canary", allow_clear_metadata=allow
            )
            await alice.correct(bob.jid, "canary", "no", allow_clear_metadata=allow)
        await alice.react(bob.jid, "canary", "+", allow_clear_metadata=True)

    assert ["canary" in xml for xml in sent] == [False, False, True, True, True]
