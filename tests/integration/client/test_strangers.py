"""What a stranger does to a client that has friends, on a real server."""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest

from tests.integration.client.taken import all_taken
from xmpp_onion import Account, Client, Event, Message, Undecryptable
from xmpp_onion import client as client_module
from xmpp_onion.store import ContactRow
from xmpp_onion.strangers import Shares, Strangers
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody

# 10,000 by name: XMPP_ONION_FULL=1
FLOOD = 10_000 if os.environ.get("XMPP_ONION_FULL") else 1_000
OMEMO = "eu.siacs.conversations.axolotl"


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(of_one=20, of_all=40, told_of_one=5, fetches=3)
    monkeypatch.setattr(
        client_module, "Strangers", functools.partial(Strangers, shares=shares)
    )


async def until(events: AsyncIterator[Event], text: str) -> list[Event]:
    """Return what comes before a message, and that message."""
    found: list[Event] = []
    async with asyncio.timeout(120):
        async for event in events:
            found.append(event)
            if isinstance(event, Message) and event.text == text:
                break
    return found


async def befriend(client: Client, jid: str) -> None:
    async with client._database.transaction():
        row = ContactRow(jid, "both", ask=False)
        await client._contacts.table.put([row])


def junk(number: int, to: str) -> str:
    return (
        f"<message type='chat' id='j{number}' to='{to}'><body>x</body>"
        f"<encrypted xmlns='{OMEMO}'>"
        f"<header sid='{number + 1}'><key rid='1'>AAAA</key><iv>AAAA</iv></header>"
        "<payload>AAAA</payload></encrypted></message>"
    )


async def test_a_flood_of_a_stranger_costs_a_friend_nothing(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("friend"), tor=wire) as friend,
        Client(await enrol("mallory"), tor=wire) as mallory,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await befriend(bob, friend.jid)
        await mallory.send(bob.jid, "first")
        before = await bob._database.generation()
        for number in range(FLOOD):
            mallory._session.send(junk(number, bob.jid), f"j{number}")
        await mallory._session.send(junk(FLOOD, bob.jid), "last")
        await friend.send(bob.jid, "hello")
        events = bob.events()
        told = await until(events, "hello")
        steps = await bob._database.generation() - before
        counted = 0
        async with asyncio.timeout(60):
            while counted < FLOOD + 1 - 5:  # the friend did not wait for all of it
                if await bob._strangers.tell_rest():
                    summary = await anext(events)
                    assert isinstance(summary, Undecryptable)
                    assert summary.sender == mallory.jid
                    counted += summary.count
                await asyncio.sleep(0.05)

    unreadable = [event for event in told if isinstance(event, Undecryptable)]
    assert len(unreadable) == 5
    # And a client that has so much to do is not busy with the rest.
    assert steps < FLOOD // 5
    assert counted == FLOOD + 1 - 5


async def test_messages_that_wait_of_a_stranger_are_bounded_and_told(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("friend"), tor=wire) as friend,
        Client(await enrol("mallory"), tor=wire) as mallory,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await befriend(bob, friend.jid)
        await mallory.send(bob.jid, "0")
        await all_taken(bob)  # what comes while his keys are asked for waits elsewhere
        for number in range(1, 50):
            await mallory.send(bob.jid, str(number))
        for number in range(50):
            await friend.send(bob.jid, f"f{number}")
        await all_taken(bob)  # before there is room again for what waits
        events = bob.events()
        came = await until(events, "f49")
        await bob._strangers.tell_rest()
        async with asyncio.timeout(30):
            summary = await anext(events)
            assert isinstance(summary, Undecryptable)
            await mallory.send(bob.jid, "there is room again")
            await until(events, "there is room again")

    texts = [event.text for event in came if isinstance(event, Message)]
    assert [t for t in texts if t.startswith("f")] == [f"f{n}" for n in range(50)]
    assert [t for t in texts if not t.startswith("f")] == [str(n) for n in range(20)]
    assert (summary.sender, summary.count) == (mallory.jid, 30)
