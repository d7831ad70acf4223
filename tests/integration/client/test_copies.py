"""Two devices of one account: each sees what the other says and gets."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Event, Message, OwnMessage, Undecryptable
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


async def know_each_other(phone: Client, laptop: Client) -> None:
    await phone.verify(phone.jid, laptop.fingerprint)
    await laptop.verify(laptop.jid, phone.fingerprint)


async def said(client: Client, count: int) -> list[Event]:
    """Return what was said next, or could not be read, without news of devices."""
    found: list[Event] = []
    async with asyncio.timeout(30):
        async for event in client.events():
            if isinstance(event, Message | OwnMessage | Undecryptable):
                found.append(event)
            if len(found) == count:
                return found
    raise AssertionError


async def test_each_device_sees_what_the_other_sends_and_both_get_the_answer(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with (
        Client(account, tor=wire) as phone,
        Client(second_device(account), tor=wire) as laptop,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await know_each_other(phone, laptop)
        await phone.send(bob.jid, "from the phone")
        await laptop.send(bob.jid, "from the laptop")
        await bob.send(account.jid, "from bob")
        on_phone = {(type(e), e.text): e for e in await said(phone, 2)}  # type: ignore[union-attr] # only these two kinds
        on_laptop = {(type(e), e.text): e for e in await said(laptop, 2)}  # type: ignore[union-attr] # only these two kinds

    assert set(on_phone) == {(OwnMessage, "from the laptop"), (Message, "from bob")}
    assert set(on_laptop) == {(OwnMessage, "from the phone"), (Message, "from bob")}
    own = on_phone[OwnMessage, "from the laptop"]
    assert isinstance(own, OwnMessage)
    assert (own.sender, own.to) == (account.jid, bob.jid)
    assert own.trust == "verified"


async def test_what_a_device_missed_of_the_others_comes_from_the_archive_once(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    other = second_device(account)
    async with (
        Client(account, tor=wire) as phone,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        async with Client(other, tor=wire) as laptop:
            await know_each_other(phone, laptop)
            await laptop.send(bob.jid, "my own, from here")
        await phone.send(bob.jid, "while the laptop was away")
        async with Client(replace(other, device=laptop.fingerprint), tor=wire) as again:
            await phone.send(bob.jid, "and live")
            texts = [event.text for event in await said(again, 2)]  # type: ignore[union-attr] # only these two kinds

    assert texts == ["while the laptop was away", "and live"]


async def test_a_message_to_oneself_reaches_the_other_devices_and_no_echo_this_one(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with (
        Client(account, tor=wire) as phone,
        Client(second_device(account), tor=wire) as laptop,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await know_each_other(phone, laptop)
        await phone.send(account.jid, "note to self")
        (note,) = await said(laptop, 1)
        await bob.send(account.jid, "something else")
        (first,) = await said(phone, 1)

    assert isinstance(note, OwnMessage)
    assert (note.text, note.to) == ("note to self", account.jid)
    assert isinstance(first, Message)
    assert first.text == "something else"
