"""What was queued while nobody held the account goes out with the next login, once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Trust
from xmpp_onion.agent.caller import ask
from xmpp_onion.agent.desk import serve
from xmpp_onion.agent.spool import Spool
from xmpp_onion.agent.spooler import Spooler
from xmpp_onion.chat import Line
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


async def answers(account: Account, request: Line) -> list[Line]:
    async with asyncio.timeout(60):
        return [line async for line in ask(account.folder, request)]


async def heard(client: Client, count: int) -> list[tuple[str, str]]:
    """Return id and text of the next messages."""
    messages = client.messages()
    async with asyncio.timeout(60):
        found = [await anext(messages) for _ in range(count)]
    return [(message.id, message.text) for message in found]


async def test_what_waits_goes_out_in_order_under_its_own_id_with_the_next_login(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(await enrol("bob"), tor=wire) as bob:
        kept = [Spool(account).put(bob.jid, f"alert {n}") for n in range(5)]
        async with Client(account, tor=wire) as alice, serve(alice):
            found = await heard(bob, 5)

    assert found == [(each.id, each.text) for each in kept]
    assert Spool(account).names() == []


async def test_who_was_killed_before_it_forgot_sends_nothing_twice(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(account, tor=wire) as alice,
    ):
        kept = Spool(account).put(bob.jid, "once")
        await alice.queue(bob.jid, "once", message_id=kept.id)  # and then: killed
        await Spooler(alice).look()
        await alice.send(bob.jid, "after")
        found = await heard(bob, 2)

    assert [text for _, text in found] == ["once", "after"]
    assert Spool(account).names() == []


async def test_what_cannot_be_encrypted_stays_in_its_order_and_is_told(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice", Trust.MANUAL)
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("carol"), tor=wire) as carol,
        Client(account, tor=wire) as alice,
    ):
        await alice.verify(carol.jid, carol.fingerprint)
        for number in range(2):
            Spool(account).put(bob.jid, f"to bob {number}")
        Spool(account).put(carol.jid, "to carol")
        spooler = Spooler(alice)
        await spooler.look()
        told = spooler.as_fields()
        others = await heard(carol, 1)
        await alice.verify(bob.jid, bob.fingerprint)
        await spooler.look()
        found = await heard(bob, 2)
        empty = spooler.as_fields()

    assert told["spooled"] == 2
    (held,) = told["held"] if isinstance(told["held"], list) else ()
    assert held["to"] == bob.jid
    assert f"xmpp-onion trust verify {bob.jid} {bob.fingerprint}" in held["fix"]
    assert [text for _, text in others] == ["to carol"]
    assert [text for _, text in found] == ["to bob 0", "to bob 1"]
    assert empty == {"spooled": 0, "held": []}


async def test_a_holder_encrypts_at_once_what_is_queued_and_keeps_what_it_cannot(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(account, tor=wire) as alice,
        serve(alice),
    ):
        asked: Line = {"do": "send", "to": [bob.jid], "text": "x", "queue": True}
        (at_once,) = await answers(account, asked)
        nobody = f"nobody@{bob.jid.domain}"
        (refused,) = await answers(account, {**asked, "to": [nobody]})
        await heard(bob, 1)

    assert (at_once["state"], at_once["encrypted"]) == ("queued", True)
    assert (refused["event"], refused["code"]) == ("error", 4)
    assert Spool(account).names() == []


async def test_a_dry_run_names_the_devices_and_sends_nothing(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(account, tor=wire) as alice,
        serve(alice),
    ):
        nobody = f"nobody@{bob.jid.domain}"
        asked: Line = {"do": "dry-run", "to": [bob.jid, nobody]}
        plan, refused = await answers(account, asked)
        await alice.distrust(bob.jid, bob.fingerprint)
        (distrusted,) = await answers(account, {**asked, "to": [bob.jid]})
        queued = await alice.queued()

    (device,) = plan["devices"] if isinstance(plan["devices"], list) else ()
    assert plan == {
        "v": 1, "event": "would-send", "to": bob.jid, "left_out": [], "skipped": [],
        "devices": [{"jid": bob.jid, "device": device["device"],
                     "fingerprint": bob.fingerprint, "trust": "tofu"}],
    }  # fmt: skip
    assert (refused["code"], refused["to"]) == (4, nobody)
    assert (distrusted["code"], queued) == (4, 0)


async def test_a_dry_run_says_what_has_to_be_decided(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice", Trust.MANUAL)
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(account, tor=wire) as alice,
        serve(alice),
    ):
        (line,) = await answers(account, {"do": "dry-run", "to": [bob.jid]})

    assert (line["code"], line["what"]) == (4, "nothing would be sent")
    assert f"xmpp-onion trust verify {bob.jid} {bob.fingerprint}" in str(line["fix"])
