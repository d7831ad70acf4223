"""Automatic trust messages between clients, over a real server (XEP-0450)."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, TrustChanged, TrustLevel, Undecryptable
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


def second_of(account: Account) -> Account:
    """The same account with a store of its own: another device."""
    name = f"{account.profile}-laptop"
    other = replace(account, profile=name, folder=account.folder.with_name(name))
    other.save()
    return other


async def changes(client: Client, count: int) -> list[TrustChanged]:
    found: list[TrustChanged] = []
    async for event in client.events():
        assert not isinstance(event, Undecryptable)
        if isinstance(event, TrustChanged):
            found.append(event)
            if len(found) == count:
                break
    return found


async def level(client: Client, of: Client) -> TrustLevel:
    devices = await client.devices(of.jid)
    return {d.fingerprint: d.trust for d in devices}[of.fingerprint]


async def test_one_scan_makes_two_and_two_devices_verify_each_other(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    accounts = [await enrol("alice"), await enrol("bob")]
    async with AsyncExitStack() as stack:
        a1, b1 = [
            await stack.enter_async_context(Client(account, tor=wire))
            for account in accounts
        ]
        a2, b2 = [
            await stack.enter_async_context(Client(second_of(account), tor=wire))
            for account in accounts
        ]
        for one, other in ((a1, a2), (a2, a1), (b1, b2), (b2, b1)):
            await one.verify(other.jid, other.fingerprint)
        await a2.devices(b1.jid)  # else the word would wait for the key
        await b2.devices(a1.jid)

        await a1.verify(b1.jid, b1.fingerprint)
        await b1.verify(a1.jid, a1.fingerprint)

        async with asyncio.timeout(60):
            told = [
                *await changes(a1, 1),
                *await changes(b1, 1),
                *await changes(a2, 2),
                *await changes(b2, 2),
            ]
        assert {event.trust for event in told} == {"verified"}
        for one in (a1, a2, b1, b2):
            for other in (a1, a2, b1, b2):
                assert await level(one, other) is TrustLevel.TRUSTED
