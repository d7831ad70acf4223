"""A sender whose keys do not come holds up nobody else, and loses nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from xmpp_onion import JID, Account, Client, Message, Undecryptable
from xmpp_onion import clerk as clerk_module
from xmpp_onion.e2ee.devices import Bundle
from xmpp_onion.errors import DeviceListError
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


class Silence:
    """Bundles of one account do not come until ``end``."""

    def __init__(self, client: Client, whose: str) -> None:
        self.asked = 0
        self.end = asyncio.Event()
        self._whose = whose
        self._fetch = client._omemo._directory._pep.fetch_bundle

    async def fetch(self, namespace: str, jid: JID, device_id: int) -> Bundle | None:
        if jid == self._whose and not self.end.is_set():
            self.asked += 1
            await self.end.wait()
        return await self._fetch(namespace, jid, device_id)


async def take(client: Client, count: int) -> list[str]:
    messages = client.messages()
    async with asyncio.timeout(30):
        return [(await anext(messages)).text for _ in range(count)]


async def test_a_silent_server_holds_up_its_own_people_alone_and_their_order_stays(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("carol"), tor=wire) as carol,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        bob._clerk.patience = 0.2
        silence = Silence(bob, alice.jid)
        monkeypatch.setattr(bob._omemo._directory._pep, "fetch_bundle", silence.fetch)
        for text in ("one", "two", "three"):
            await alice.send(bob.jid, text)
        await carol.send(bob.jid, "not held up")
        first = await take(bob, 1)
        silence.end.set()
        rest = await take(bob, 4)

    assert first == ["not held up"]
    assert rest == ["not held up", "one", "two", "three"]
    assert silence.asked == 2  # when it came, and once for all that wait


async def test_what_was_set_aside_is_read_after_a_restart(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob_account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(bob_account, tor=wire) as bob:
            bob._clerk.patience = 0.2
            silence = Silence(bob, alice.jid)
            monkeypatch.setattr(
                bob._omemo._directory._pep, "fetch_bundle", silence.fetch
            )
            for text in ("one", "two"):
                await alice.send(bob.jid, text)
            async with asyncio.timeout(30):
                while await bob._clerk._room.senders() == frozenset():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)

        async with Client(bob_account, tor=wire) as bob:
            await alice.send(bob.jid, "three")
            assert await take(bob, 3) == ["one", "two", "three"]
            assert await bob._clerk._room.senders() == frozenset()


async def test_what_finds_no_keys_at_last_is_reported_and_the_sender_is_read_again(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerk_module, "NETWORK_PAUSE", 0)

    async def fail(*_: object) -> None:
        raise DeviceListError("no answer", why="the server is silent")

    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        events = bob.events()
        with monkeypatch.context() as silent:
            silent.setattr(bob._omemo._directory._pep, "fetch_bundle", fail)
            await alice.send(bob.jid, "lost")
            async with asyncio.timeout(30):
                first = await anext(events)
        await alice.send(bob.jid, "heard")
        async with asyncio.timeout(30):
            second = await anext(events)

    assert isinstance(first, Undecryptable)
    assert first.reason == "the server is silent"
    assert isinstance(second, Message)
    assert second.text == "heard"
