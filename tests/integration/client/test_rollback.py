"""An old copy put back, a store that is gone: both sides work on (T3, D17)."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import (
    Account,
    Client,
    Event,
    Message,
    RolledBack,
    Tor,
    Undecryptable,
)
from xmpp_onion.e2ee import NAMESPACES, FarWitness, Nodes
from xmpp_onion.e2ee.far_witness import NODE
from xmpp_onion.e2ee.nodes import HiddenNodeError
from xmpp_onion.errors import DuplicateDeviceError, StoreCorruptError
from xmpp_onion.server import Prosody
from xmpp_onion.store import Database
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


def put_back(copy: Path, account: Account) -> None:
    """Restore an account's folder, as from a backup."""
    shutil.rmtree(account.folder)
    shutil.copytree(copy, account.folder)


async def soon(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(60):
        return await anext(events)


async def texts(events: AsyncIterator[Event], count: int) -> list[str]:
    """Return the next texts; no other event may come between."""
    async with asyncio.timeout(60):
        found = [await anext(events) for _ in range(count)]
    return [
        event.text if isinstance(event, Message) else repr(event) for event in found
    ]


async def test_after_an_old_copy_was_put_back_both_sides_read_everything(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account, copy = await enrol("alice"), tmp_path / "copy"
    async with Client(await enrol("bob"), tor=wire) as bob:
        heard = bob.events()
        async with Client(account, tor=wire) as alice:
            await alice.send(bob.jid, "hello")
            message = await soon(heard)
            assert isinstance(message, Message)
            await message.reply("hello yourself")
            assert await texts(alice.events(), 1) == ["hello yourself"]
        account = Account.load("alice", account.folder.parent)
        shutil.copytree(account.folder, copy)
        async with Client(account, tor=wire) as alice:
            for number in range(3):
                await alice.send(bob.jid, f"after the copy {number}")
            await bob.send(alice.jid, "to the newer alice")
            heard_then = ["hello yourself", "to the newer alice"]  # the first again
            assert await texts(alice.events(), 2) == heard_then
        assert await texts(heard, 3) == [f"after the copy {n}" for n in range(3)]

        put_back(copy, account)
        async with Client(account, tor=wire) as alice:
            seen = alice.events()
            assert await texts(seen, 1) == ["hello yourself"]
            assert isinstance(await soon(seen), RolledBack)
            # The old copy does not know it; with its old session it can read it.
            assert await texts(seen, 1) == ["to the newer alice"]
            for number in range(3):
                await alice.send(bob.jid, f"restored {number}")
            assert await texts(heard, 3) == [f"restored {n}" for n in range(3)]
            await bob.send(alice.jid, "and back")
            assert await texts(seen, 1) == ["and back"]
            assert alice.fingerprint == account.device

        async with Client(account, tor=wire) as alice:  # it is told once
            await bob.send(alice.jid, "and on")
            assert await texts(alice.events(), 2) == ["and back", "and on"]


async def test_a_disk_that_was_put_back_whole_is_noticed_by_what_the_server_knows(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account, disk = await enrol("alice"), tmp_path / "disk"
    async with Client(await enrol("bob"), tor=wire) as bob:
        heard = bob.events()
        async with Client(account, tor=wire) as alice:
            await alice.send(bob.jid, "hello")
        assert await texts(heard, 1) == ["hello"]
        account = Account.load("alice", account.folder.parent)
        shutil.copytree(account.folder.parent, disk)  # the note is on it, too
        async with Client(account, tor=wire) as alice:
            await alice.send(bob.jid, "after the copy")
        assert await texts(heard, 1) == ["after the copy"]

        shutil.rmtree(account.folder.parent)
        shutil.copytree(disk, account.folder.parent)
        async with Client(account, tor=wire) as alice:
            assert isinstance(await soon(alice.events()), RolledBack)
            await alice.send(bob.jid, "restored")
            assert await texts(heard, 1) == ["restored"]

        async with Client(account, tor=wire) as alice:  # it is told once
            await bob.send(alice.jid, "and on")
            seen = alice.events()
            assert isinstance(await soon(seen), RolledBack)  # not handled before
            assert await texts(seen, 1) == ["and on"]


async def test_only_we_can_read_what_the_server_knows(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        await until_told(alice)
        item = (NODE, alice._database.progress.store_id)
        nodes, those = Nodes(alice._session.xmpp), Nodes(bob._session.xmpp)

        assert await nodes.access_model(NODE) == "whitelist"
        assert await nodes.fetch(alice.jid, item, newest=False) is not None
        with pytest.raises(HiddenNodeError):
            await those.fetch(alice.jid, item, newest=False)


async def test_a_client_that_ends_tells_the_server_how_far_it_came(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice:
        await until_told(alice)
        for number in range(10):
            async with alice._database.transaction():
                await alice._inbox.mark_seen(str(number))
        reached = alice._database.progress.reached

    async with Client(account, tor=wire) as alice:
        assert alice._far_witness.heard >= reached


@pytest.mark.alone
async def test_to_ask_the_server_costs_a_login_no_round_trip(
    enrol: Enrol,
    prosody: Prosody,
    wire: LoopbackDialer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account, trips, heard = await enrol("alice"), [], []
    async with Client(account, tor=wire) as alice:
        await until_told(alice)

    for ask in (FarWitness.ask, do_not_ask):
        monkeypatch.setattr(FarWitness, "ask", ask)
        async with (
            ChaosProxy(routes={prosody.onion: prosody.c2s_port}, rtt=0.5) as proxy,
            Tor.attach(proxy.socks) as tor,
            Client(account, tor=tor) as alice,
        ):
            trips.append(proxy.round_trips)
            heard.append(alice._far_witness.heard)

    assert heard[0] > 0 == heard[1]
    assert trips[0] == trips[1]


async def test_two_programs_with_a_copy_of_one_account_end_with_an_error(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire):
        pass
    account = Account.load("alice", account.folder.parent)
    shutil.copytree(account.folder, tmp_path / "there" / "alice")
    twin = Account.load("alice", tmp_path / "there")

    with pytest.raises(DuplicateDeviceError, match="a copy of one account"):
        async with Client(account, tor=wire) as first, Client(twin, tor=wire):
            await soon(first.events())
    assert len(wire.dialed) == 4  # to register, and once for each client


async def test_a_copy_on_another_machine_is_no_alarm(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account = await enrol("alice")
    async with Client(await enrol("bob"), tor=wire) as bob:
        async with Client(account, tor=wire) as alice:
            await alice.send(bob.jid, "from here")
        shutil.copytree(account.folder, tmp_path / "there" / "alice")
        moved = Account.load("alice", tmp_path / "there")

        async with Client(moved, tor=wire) as alice:
            await alice.send(bob.jid, "from there")
            await bob.send(alice.jid, "welcome")
            assert await texts(alice.events(), 1) == ["welcome"]
        assert await texts(bob.events(), 2) == ["from here", "from there"]


async def test_copies_that_are_used_in_turn_notice_each_other_and_go_on(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    async with Client(await enrol("bob"), tor=wire) as bob:
        heard = bob.events()
        async with Client(await enrol("alice"), tor=wire) as alice:
            await alice.send(bob.jid, "hello")
            first = alice.account
        assert await texts(heard, 1) == ["hello"]
        shutil.copytree(first.folder, tmp_path / "stick" / "alice")
        second = replace(first, folder=tmp_path / "stick" / "alice")

        # The first one that goes on is no copy yet; from then on each is behind.
        for turn, account in enumerate((first, second, first, second, first)):
            async with Client(account, tor=wire) as alice:
                seen = alice.events()
                if turn > 0:
                    await until(seen, lambda event: isinstance(event, RolledBack))
                await alice.send(bob.jid, f"turn {turn}")
                assert await texts(heard, 1) == [f"turn {turn}"]
                # What the other copy got is not readable here, and said to be missing.
                await bob.send(alice.jid, f"answer {turn}")
                await until(seen, says(f"answer {turn}"))


def says(text: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Message) and event.text == text


async def until(events: AsyncIterator[Event], fits: Callable[[Event], bool]) -> None:
    """Read on to an event."""
    async with asyncio.timeout(60):
        async for event in events:
            if fits(event):
                return
    raise AssertionError


async def test_a_device_that_lost_everything_is_back_within_one_exchange(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(account, tor=wire) as bob:
            await alice.send(bob.jid, "hello")
            assert await texts(bob.events(), 1) == ["hello"]

        account.store_path.unlink()
        async with Client(replace(account, device=""), tor=wire) as bob:
            await alice.send(bob.jid, "once more")
            await bob.send(alice.jid, "here I am")
            async with asyncio.timeout(60):  # both are told of devices, too
                assert (await anext(bob.messages())).text == "once more"
                assert (await anext(alice.messages())).text == "here I am"


async def test_lost_sessions_are_healed_and_what_was_lost_is_counted(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("bob")
    async with Client(await enrol("alice"), tor=wire) as alice:
        async with Client(account, tor=wire) as bob:
            await alice.send(bob.jid, "hello")
            heard = bob.events()
            await bob.send(alice.jid, "hello yourself")
            assert await texts(heard, 1) == ["hello"]
            assert await texts(alice.events(), 1) == ["hello yourself"]
        await forget_sessions(account)

        async with Client(account, tor=wire) as bob:
            heard, lost, sent = bob.events(), 0, 0
            assert await texts(heard, 1) == ["hello"]
            while True:
                await alice.send(bob.jid, "can you read this?")
                sent += 1
                async with asyncio.timeout(60):
                    event = await soon(heard)
                if isinstance(event, Message):
                    break
                assert isinstance(event, Undecryptable)
                lost += event.count
            await bob.send(alice.jid, "now I can")

            assert lost == sent - 1 > 0
            assert (await texts(alice.events(), 2))[1] == "now I can"


async def test_keys_of_another_device_are_an_error(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire):
        pass

    with pytest.raises(StoreCorruptError, match="does not belong to this account"):
        async with Client(replace(account, device="ab" * 32), tor=wire):
            pass


async def until_told(client: Client) -> None:
    """Return when the server knows how far the store of a client is."""
    async with asyncio.timeout(30):
        await client._far_witness.confirmed.wait()


async def do_not_ask(witness: FarWitness) -> None:
    """Stand in for asking."""


async def forget_sessions(account: Account) -> None:
    """Take the sessions out of a store, and leave the keys of the device."""
    async with Database.open(account.store_path) as database, database.transaction():
        await database.execute(
            "DELETE FROM keys WHERE key LIKE ? OR key LIKE ?",
            tuple(f"/{namespace}/%@%" for namespace in NAMESPACES),
        )
