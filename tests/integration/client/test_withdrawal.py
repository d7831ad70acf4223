"""A device that is distrusted while a message waits never gets it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, DeliveryFailed, DeliveryState, Trust
from xmpp_onion.errors import DeliveryFailedError
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


def second_device(account: Account) -> Account:
    """The same account on another machine."""
    other = replace(
        account, folder=account.folder.parent / "laptop", profile="laptop", device=""
    )
    other.save()
    return other


async def queue_offline(client: Client, wire: LoopbackDialer, to: str) -> str:
    """Have a message wait on the disk, with no connection to go out on."""
    wire.refusing = True
    wire.cut()
    return (await client.queue(to, "secret")).id


def archived(folder: Path, message_id: str) -> list[str]:
    """Return what the server's archives have of a message, as they keep it."""
    return [
        item
        for path in (folder / "server").rglob("*.list")
        for item in path.read_text(errors="replace").split("item({")
        if message_id in item
    ]


async def take(client: Client, count: int) -> list[str]:
    messages = client.messages()
    async with asyncio.timeout(30):
        return [(await anext(messages)).text for _ in range(count)]


@pytest.mark.parametrize("restart", [False, True], ids=["resumed", "restarted"])
async def test_the_server_never_gets_the_key_of_a_device_that_was_distrusted(
    enrol: Enrol,
    wire: LoopbackDialer,
    tmp_path: Path,
    restart: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    alices_wire = LoopbackDialer(wire.port)
    async with (
        Client(bob_account, tor=wire) as phone,
        Client(second_device(bob_account), tor=wire) as laptop,
    ):
        async with Client(alice_account, tor=alices_wire) as alice:
            await alice.send(phone.jid, "warm")
            waiting = await queue_offline(alice, alices_wire, phone.jid)
            device = await alice.distrust(phone.jid, laptop.fingerprint)
            alices_wire.refusing = False
            if not restart:
                await alice.wait(waiting, DeliveryState.ACKED, timeout=60)
        async with Client(alice_account, tor=alices_wire) as alice:
            await alice.wait(waiting, DeliveryState.ACKED, timeout=60)
            delivery = await alice.delivery(waiting)
        texts = await take(phone, 2)

    assert texts == ["warm", "secret"]
    items = archived(tmp_path, waiting)
    assert items != []
    for item in items:
        assert "rid" in item
        assert str(device.device_id) not in item
    assert delivery is not None
    assert device.fingerprint in delivery.skipped
    assert delivery.devices == 1


async def test_what_has_no_reader_left_fails_and_is_never_sent(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    alices_wire = LoopbackDialer(wire.port)
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("alice"), tor=alices_wire) as alice,
    ):
        await alice.send(bob.jid, "warm")
        waiting = await queue_offline(alice, alices_wire, bob.jid)
        await alice.distrust(bob.jid, bob.fingerprint)
        alices_wire.refusing = False
        async with asyncio.timeout(30):
            event = await anext(alice.events())
        with pytest.raises(DeliveryFailedError, match="not delivered"):
            await alice.wait(waiting, DeliveryState.ACKED)
        await alice.verify(bob.jid, bob.fingerprint)
        await alice.send(bob.jid, "trusted again")
        texts = await take(bob, 2)

    assert isinstance(event, DeliveryFailed)
    assert event.id == waiting
    assert "distrusted" in event.reason
    assert texts == ["warm", "trusted again"]
    assert archived(tmp_path, waiting) == []


async def test_who_waits_for_the_ack_of_what_fails_is_told(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alices_wire = LoopbackDialer(wire.port)
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(await enrol("alice"), tor=alices_wire) as alice,
        asyncio.TaskGroup() as tasks,
    ):
        await alice.send(bob.jid, "warm")
        alices_wire.refusing = True
        alices_wire.cut()
        sending = tasks.create_task(_fails(alice, bob.jid))
        async with asyncio.timeout(30):
            while not await alice._outbox.pending():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await alice.distrust(bob.jid, bob.fingerprint)
        async with asyncio.timeout(30):
            error = await sending

    assert "distrusted" in error.why


async def _fails(client: Client, to: str) -> DeliveryFailedError:
    with pytest.raises(DeliveryFailedError) as caught:
        await client.send(to, "secret")
    return caught.value


@pytest.mark.parametrize("how", ["contact", "account", "pin"])
async def test_what_waits_reaches_no_device_that_a_stricter_policy_refuses(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, how: str
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    alices_wire = LoopbackDialer(wire.port)
    async with (
        Client(bob_account, tor=wire) as phone,
        Client(second_device(bob_account), tor=wire) as laptop,
    ):
        pins = {phone.jid: frozenset({phone.fingerprint, laptop.fingerprint})}
        if how == "pin":
            alice_account = replace(alice_account, trust=Trust.PINNED, pins=pins)
        async with Client(alice_account, tor=alices_wire) as alice:
            if how != "pin":
                await alice.verify(phone.jid, phone.fingerprint)
            await alice.send(phone.jid, "warm")
            waiting = await queue_offline(alice, alices_wire, phone.jid)
            if how == "contact":
                await alice.set_policy(phone.jid, Trust.MANUAL)
            account = alice.account
        changed = {
            "contact": account,
            "account": replace(account, trust=Trust.MANUAL),
            "pin": replace(account, pins={phone.jid: frozenset({phone.fingerprint})}),
        }
        alices_wire.refusing = False
        async with Client(changed[how], tor=alices_wire) as alice:
            await alice.wait(waiting, DeliveryState.ACKED, timeout=60)
            delivery = await alice.delivery(waiting)
        texts = await take(phone, 2)

    assert texts == ["warm", "secret"]
    number = str(laptop._omemo.device_id)
    items = archived(tmp_path, waiting)
    assert items != []
    assert [item for item in items if number in item] == []
    assert delivery is not None
    assert delivery.skipped == (laptop.fingerprint,)
