"""A sender whose keys do not come holds up nobody else, and loses nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import pytest

from xmpp_onion import JID, Account, Client, Message, Undecryptable
from xmpp_onion import waiting as waiting_module
from xmpp_onion.e2ee.devices import Bundle
from xmpp_onion.errors import DeviceListError
from xmpp_onion.store import ContactRow
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


async def befriend(client: Client, jid: str) -> None:
    async with client._database.transaction():
        await client._contacts.table.put([ContactRow(jid, "both", ask=False)])


async def settle(client: Client) -> None:
    """Let it read what the archive got during its login: what comes now is live."""
    settling = client._absence.settling
    assert settling is not None
    async with asyncio.timeout(30):
        await asyncio.wait([settling])


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
        await settle(bob)
        await befriend(bob, alice.jid)
        bob._clerk.room.patience = 0.2
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
    assert silence.asked <= 3  # not for each that waits


async def test_what_was_set_aside_is_read_after_a_restart(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob_account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(bob_account, tor=wire) as bob:
            await settle(bob)
            bob._clerk.room.patience = 0.2
            silence = Silence(bob, alice.jid)
            monkeypatch.setattr(
                bob._omemo._directory._pep, "fetch_bundle", silence.fetch
            )
            for text in ("one", "two"):
                await alice.send(bob.jid, text)
            async with asyncio.timeout(30):
                while await bob._clerk.room._rows.senders() == frozenset():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)

        async with Client(bob_account, tor=wire) as bob:
            await alice.send(bob.jid, "three")
            assert await take(bob, 3) == ["one", "two", "three"]
            assert await bob._clerk.room._rows.senders() == frozenset()


async def test_nobody_waits_while_the_keys_of_a_stranger_do_not_come(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Client(await enrol("mallory"), tor=wire) as mallory,
        Client(await enrol("carol"), tor=wire) as carol,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await settle(bob)
        bob._clerk.room.patience = 3600.0
        silence = Silence(bob, mallory.jid)
        monkeypatch.setattr(bob._omemo._directory._pep, "fetch_bundle", silence.fetch)
        await mallory.send(bob.jid, "first")
        await carol.send(bob.jid, "not held up")
        assert await take(bob, 1) == ["not held up"]

        silence.end.set()
        assert await take(bob, 2) == ["not held up", "first"]


class Refusal:
    """Keys of one account are refused so many times, as if its server were away."""

    def __init__(self, client: Client, whose: str, times: int) -> None:
        self.asked = 0
        self._whose = whose
        self._times = times
        self._fetch = client._omemo._directory._pep.fetch_bundle

    def end(self) -> None:
        self._times = 0

    async def fetch(self, namespace: str, jid: JID, device_id: int) -> Bundle | None:
        if jid == self._whose:
            self.asked += 1
            if self.asked <= self._times:
                raise DeviceListError("no answer", why="the server is silent")
        return await self._fetch(namespace, jid, device_id)


async def test_a_contacts_message_is_kept_until_its_keys_come(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "NETWORK_PAUSE", 0)
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await settle(bob)
        await befriend(bob, alice.jid)
        refusal = Refusal(bob, alice.jid, 20)
        monkeypatch.setattr(bob._omemo._directory._pep, "fetch_bundle", refusal.fetch)
        for text in ("one", "two"):
            await alice.send(bob.jid, text)

        assert await take(bob, 2) == ["one", "two"]
    assert refusal.asked >= 21, refusal.asked  # twenty times in vain


async def test_a_contacts_message_is_given_up_after_a_week_and_told(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "NETWORK_PAUSE", 0)
    monkeypatch.setattr(waiting_module, "_GIVEN_UP_AFTER", timedelta(0))
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await settle(bob)
        await befriend(bob, alice.jid)
        refusal = Refusal(bob, alice.jid, 1_000)
        monkeypatch.setattr(bob._omemo._directory._pep, "fetch_bundle", refusal.fetch)
        await alice.send(bob.jid, "lost")
        async with asyncio.timeout(30):
            event = await anext(bob.events())

    assert isinstance(event, Undecryptable)
    assert event.reason == "the server is silent"


async def test_one_device_without_keys_does_not_hold_up_the_others_of_a_contact(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice_account = await enrol("alice")
    laptop_account = replace(
        alice_account, folder=alice_account.folder.parent / "laptop", profile="laptop"
    )
    laptop_account.save()
    async with (
        Client(alice_account, tor=wire) as phone,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await befriend(bob, phone.jid)
        await phone.send(bob.jid, "known")
        assert await take(bob, 1) == ["known"]
        refusal = Refusal(bob, phone.jid, 1000)
        monkeypatch.setattr(bob._omemo._directory._pep, "fetch_bundle", refusal.fetch)
        async with Client(laptop_account, tor=wire) as laptop:
            await laptop.send(bob.jid, "from a new device")
        for text in ("behind it", "and more"):
            await phone.send(bob.jid, text)

        assert await take(bob, 3) == ["known", "behind it", "and more"]
        refusal.end()
        bob._clerk.room.begin_anew()
        assert await take(bob, 2) == ["and more", "from a new device"]


async def test_what_finds_no_keys_at_last_is_reported_and_the_sender_is_read_again(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "NETWORK_PAUSE", 0)

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
