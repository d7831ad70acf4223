"""What travels beside the text, and what must not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import (
    Account,
    Client,
    ContactRequest,
    Correction,
    DeliveryState,
    Event,
    Message,
    Reaction,
    Receipt,
    Retraction,
)
from xmpp_onion.account import Receipts
from xmpp_onion.agent.requests import perform
from xmpp_onion.chat import line
from xmpp_onion.errors import AddressError
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


async def befriend(one: Client, other: Client) -> None:
    await one.add_contact(other.jid)
    async with asyncio.timeout(30):
        async for event in other.events():
            if isinstance(event, ContactRequest):
                break
    await other.accept_contact(one.jid)
    async with asyncio.timeout(30):
        while one.jid not in other._session.xmpp.gate.friends:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def next_of(client: Client, kind: type[Event]) -> Event:
    """Return the next event of a kind; what comes before is passed by."""
    async with asyncio.timeout(30):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError


async def test_a_reply_a_correction_a_reaction_and_a_retraction_travel_inside(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        first = await alice.send(bob.jid, "hello")
        message = await read_one(bob)
        await bob.send(alice.jid, "hello yourself", reply_to=message)
        await alice.correct(bob.jid, first.id, "hallo")
        await alice.react(bob.jid, "canary-target", "canary-emoji")
        await alice.retract(bob.jid, first.id)
        answer = await read_one(alice)
        found = [await next_of(bob, k) for k in (Correction, Reaction, Retraction)]

    assert answer.reply_to == first.id
    correction, reaction, retraction = found
    assert isinstance(correction, Correction)
    assert (correction.target, correction.text) == (first.id, "hallo")
    assert isinstance(reaction, Reaction)
    assert (reaction.target, reaction.emojis) == ("canary-target", ("canary-emoji",))
    assert isinstance(retraction, Retraction)
    assert (retraction.target, retraction.sender) == (first.id, alice.jid)
    files = [p for p in (tmp_path / "server").rglob("*") if p.is_file()]
    assert [p for p in files if b"canary" in p.read_bytes()] == []


async def said(client: Client) -> AsyncIterator[Message | Correction]:
    async with asyncio.timeout(60):
        async for event in client.events():
            if isinstance(event, Message | Correction):
                yield event


async def test_our_second_device_corrects_our_first_where_both_are_trusted_as_much(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await bob.verify(alice.jid, alice.fingerprint)
        first = await alice.send(bob.jid, "helo")
        told = said(bob)
        message = await anext(told)
        tablet = replace(alice.account, folder=tmp_path / "tablet", device="")
        tablet.save()
        async with Client(tablet, tor=wire) as other:
            await other.correct(bob.jid, first.id, "nobody verified me")
            unverified = await anext(told)
            await bob.verify(alice.jid, other.fingerprint)
            await other.correct(bob.jid, first.id, "hello")
            correction = await anext(told)

    assert (message.trust, unverified.trust) == ("verified", "undecided")
    assert (
        unverified.text == "nobody verified me"
    )  # one more message, and no correction
    assert isinstance(correction, Correction)
    assert (correction.text, correction.is_for(message)) == ("hello", True)
    assert correction.device != message.device


async def test_a_contact_is_told_inside_of_the_envelope_and_only_if_we_want_to(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bob_account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(bob_account, tor=wire) as bob:
            await befriend(alice, bob)
            unanswered = await alice.send(bob.jid, "you say nothing")
            await read_one(bob)
        known = replace(bob_account, receipts=Receipts.CONTACTS, device=bob.fingerprint)
        async with Client(known, tor=wire):
            answered = await alice.send(bob_account.jid, "you tell me")
            await alice.wait(answered.id, DeliveryState.RECEIVED, timeout=120)
        receipt = await next_of(alice, Receipt)
        silent = await alice.delivery(unanswered.id)

    assert isinstance(receipt, Receipt)
    assert (receipt.id, receipt.authenticated) == (answered.id, True)
    assert silent is not None
    assert silent.state is DeliveryState.ACKED


async def test_receipts_are_switched_on_while_a_client_runs(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await befriend(alice, bob)
        (told,) = await perform(bob, {"do": "receipts", "on": True})
        sent = await alice.send(bob.jid, "you tell me")
        await alice.wait(sent.id, DeliveryState.RECEIVED, timeout=120)

    assert told == {"v": 1, "event": "receipts", "jid": bob.jid, "on": True}


async def test_a_stranger_is_never_told(enrol: Enrol, wire: LoopbackDialer) -> None:
    known = replace(await enrol("bob"), receipts=Receipts.CONTACTS)
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(known, tor=wire) as bob,
    ):
        sent = await alice.send(bob.jid, "are you there?")
        await read_one(bob)
        await bob.send(alice.jid, "something to wait for")
        await read_one(alice)
        delivery = await alice.delivery(sent.id)

    assert delivery is not None
    assert delivery.state is DeliveryState.ACKED


async def test_a_process_that_dies_before_it_tells_a_contact_tells_him_later(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(await enrol("bob"), receipts=Receipts.CONTACTS)
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(known, tor=wire) as bob:
            await befriend(alice, bob)
            mute = asyncio.Event()

            async def hang(*_: object) -> None:
                await mute.wait()

            with monkeypatch.context() as stuck:
                stuck.setattr(bob._outgoing, "accept", hang)
                sent = await alice.send(bob.jid, "do you hear me?")
                await read_one(bob)
        before = await alice.delivery(sent.id)
        async with Client(replace(known, device=bob.fingerprint), tor=wire) as bob:
            await alice.wait(sent.id, DeliveryState.RECEIVED, timeout=120)
            rows = await bob._database.fetch("SELECT * FROM deliveries")

    assert before is not None
    assert before.state is DeliveryState.ACKED
    assert rows == []  # what becomes of a confirmation interests nobody


async def test_an_author_is_told_that_a_message_was_displayed(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        sent = await alice.send(bob.jid, "read me")
        message = await read_one(bob)
        with pytest.raises(AddressError, match="stranger"):
            await bob.mark_displayed(message)
        await bob.mark_displayed(message, to_stranger=True)
        delivery = await alice.wait(sent.id, DeliveryState.DISPLAYED, timeout=120)

    assert delivery.state is DeliveryState.DISPLAYED
