"""An account that moves: one identity, another device, and no session twice."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.integration.client.taken import all_taken
from xmpp_onion import Account, Client, Message, OwnMessage, Trust
from xmpp_onion.agent.export import export_account, import_account
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody
SECRET = Secret(Kind.KEY_FILE, bytes(32))  # a passphrase takes its time


async def move(account: Account, tmp_path: Path, name: str) -> Account:
    """Export an account and import it into another profile, as elsewhere."""
    file = tmp_path / f"{name}.account"
    await export_account(account, file, SECRET)
    return (await import_account(file, name, tmp_path / name, lambda _: SECRET))[0]


class Heard:
    """What a client is told, each text once."""

    def __init__(self, client: Client) -> None:
        self._events = client.events()

    async def texts(self, count: int) -> list[str]:
        """Return the next texts of others and of other devices of ours."""
        found: list[str] = []
        async with asyncio.timeout(60):
            while len(found) < count:
                event = await anext(self._events)
                if isinstance(event, Message | OwnMessage):
                    found.append(f"{event.text} ({event.trust})")
        return found


async def test_an_account_moves_and_nobody_has_to_verify_it_again(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    first = await enrol("alice", Trust.MANUAL)
    async with (
        Client(first, tor=wire) as alice,
        Client(await enrol("bob", Trust.MANUAL), tor=wire) as bob,
    ):
        await alice.verify(bob.jid, bob.fingerprint)
        await bob.verify(alice.jid, alice.fingerprint)
        await alice.send(bob.jid, "before")
        await bob.send(alice.jid, "unread")
        assert await Heard(bob).texts(1) == ["before (verified)"]
        await all_taken(alice)
        former, first = alice.device_id, alice.account

    second = await move(first, tmp_path, "second")
    async with (
        Client(second, tor=wire) as moved,
        Client(bob.account, tor=wire) as bob,
    ):
        mine, his = Heard(moved), Heard(bob)
        heard = await mine.texts(1)
        await moved.send(bob.jid, "from the new one")
        said = await his.texts(2)  # what he heard last, he was not done with
        await bob.send(moved.jid, "to the new one")
        heard += await mine.texts(1)
        devices = await bob.devices(moved.jid)
        new = moved.device_id

    assert heard == ["unread (verified)", "to the new one (verified)"]
    assert said == ["before (verified)", "from the new one (verified)"]
    assert new != former
    assert {each.device_id for each in devices} == {former, new}
    assert {each.fingerprint for each in devices} == {alice.fingerprint}


async def test_both_copies_may_run_and_each_is_a_device_of_its_own(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    first = await enrol("alice")
    async with Client(first, tor=wire) as alice:
        first = alice.account
    second = await move(first, tmp_path, "second")
    third = await move(first, tmp_path, "third")
    async with (
        Client(await enrol("bob"), tor=wire) as bob,
        Client(first, tor=wire) as alice,
        Client(second, tor=wire) as copy,
        Client(third, tor=wire) as other,
    ):
        copies, his = (alice, copy, other), Heard(bob)
        for number, each in enumerate(copies):
            await each.send(bob.jid, f"from {number}")
            assert await his.texts(1) == [f"from {number} (tofu)"]
        await bob.send(alice.jid, "to all")
        for number, each in enumerate(copies):
            said = [f"from {n} (verified)" for n in range(3) if n != number]
            heard = await Heard(each).texts(3)
            assert sorted(heard) == sorted([*said, "to all (tofu)"])
        numbers = {each.device_id for each in copies}
        fingerprints = {each.fingerprint for each in copies}

    assert len(numbers) == 3
    assert len(fingerprints) == 1


async def test_the_device_before_is_taken_out_of_the_list_by_its_number(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    first = await enrol("alice")
    async with Client(first, tor=wire) as alice:
        first, former = alice.account, alice.device_id
    second = await move(first, tmp_path, "second")
    async with (
        Client(second, tor=wire) as moved,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        removed = await moved.notary.remove_device(former, with_this=False)
        sent = await bob.send(moved.jid, "hi")
        assert await Heard(moved).texts(1) == ["hi (tofu)"]

    assert (removed.device_id, removed.active) == (former, False)
    assert sent.devices == 1


async def test_what_was_encrypted_is_so_again(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    first = (await enrol("alice")).encrypted(SECRET)
    first.save()
    async with Client(first, tor=wire) as alice:
        first = alice.account
    second = await move(first, tmp_path, "second")
    async with Client(second, tor=wire) as moved:
        assert moved.fingerprint == alice.fingerprint

    assert second.seal is not None
    assert Account.kind("second", tmp_path / "second") is Kind.KEY_FILE
    for path in second.folder.rglob("*"):
        if path.is_file():
            assert b"secret of alice" not in path.read_bytes()
