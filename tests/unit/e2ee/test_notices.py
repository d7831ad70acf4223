"""New devices, changed and copied keys are told: once each, and never a storm."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import omemo
import pytest
from oldmemo import oldmemo
from twomemo import twomemo

from xmpp_onion.address import JID
from xmpp_onion.chat import Event, KeyChanged, KeyReuse, NewDevice, read_event
from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.e2ee.notices import Notices
from xmpp_onion.errors import DecryptionError, NoDevicesError
from xmpp_onion.store import Database, Inbox
from xmpp_onion.testing.omemo_peer import ONION, OmemoPeer, OmemoPeers

BOB = JID(f"bob@{ONION}")
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class UndoneError(Exception):
    """What a test raises to roll a transaction back."""


async def told(peer: OmemoPeer) -> list[Event]:
    return [read_event(row.event_json) for row in await Inbox(peer.database).pending()]


def new_device(number: int, jid: JID = BOB) -> NewDevice:
    return NewDevice(
        sender=jid,
        device=number,
        fingerprint=f"{number:064x}",
        trust="undecided",
        own=False,
        at=AT,
    )


def rewritten(bundle: omemo.Bundle, jid: JID, device_id: int) -> omemo.Bundle:
    assert isinstance(bundle, oldmemo.BundleImpl | twomemo.BundleImpl)
    return type(bundle)(
        jid, device_id, bundle.bundle, bundle.signed_pre_key_id, bundle.pre_key_ids
    )


# --- new devices --------------------------------------------------------------------


async def test_the_devices_of_a_first_contact_are_not_told(peers: OmemoPeers) -> None:
    alice = await peers.add("alice", Trust.BTBV)
    bob, _ = await peers.add("bob"), await peers.add("bob", device="laptop")

    await alice.encrypt(bob, "hi")

    assert await told(alice) == []


@pytest.mark.parametrize(
    ("policy", "trust"),
    [
        (Trust.BTBV, "tofu"),
        (Trust.TOFU, "undecided"),
        (Trust.MANUAL, "undecided"),
        (Trust.PINNED, "distrusted"),
    ],
)
async def test_a_later_device_is_told_once_with_what_the_policy_makes_of_it(
    peers: OmemoPeers, policy: Trust, trust: str
) -> None:
    alice, bob = await peers.add("alice", policy), await peers.add("bob")
    await alice.devices(bob)
    laptop = await peers.add("bob", device="laptop")

    for _ in range(3):
        await alice.devices(bob)

    (event,) = await told(alice)
    assert isinstance(event, NewDevice)
    assert (event.sender, event.device) == (bob.jid, laptop.omemo.device_id)
    assert event.fingerprint == laptop.omemo.fingerprint
    assert (event.trust, event.own) == (trust, False)


async def test_a_device_is_told_once_across_restarts(peers: OmemoPeers) -> None:
    bob = await peers.add("bob")
    async with peers.new("alice", Trust.PINNED) as alice:
        await alice.devices(bob)
        await peers.add("bob", device="laptop")
        await alice.devices(bob)

    async with peers.new("alice", Trust.PINNED) as alice:
        await alice.devices(bob)

        assert len(await told(alice)) == 1


async def test_another_device_of_our_own_is_told_from_the_first(
    peers: OmemoPeers,
) -> None:
    phone = await peers.add("alice", Trust.BTBV)
    laptop = await peers.add("alice", Trust.BTBV, device="laptop")

    await phone.devices(phone)
    await laptop.devices(laptop)

    (event,) = await told(phone)
    assert isinstance(event, NewDevice)
    assert (event.own, event.trust) == (True, "undecided")
    assert event.fingerprint == laptop.omemo.fingerprint
    assert [type(e) for e in await told(laptop)] == [NewDevice]


async def test_a_thousand_new_devices_are_no_storm(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    mallory = await peers.add("mallory")
    await alice.devices(bob)
    real = peers.server.bundles[peers.place(mallory)]
    numbers = [bob.omemo.device_id, *range(1, 1001)]
    for number in range(1, 1001):
        peers.server.bundles[peers.newest, bob.jid, number] = rewritten(
            real, bob.jid, number
        )

    for start in range(0, 1001, 25):
        peers.server.push(bob.jid, numbers[start:] + numbers[:start])
        await alice.devices(bob)
        alice.now += 3600

    events = await told(alice)
    assert 0 < len(events) <= 32
    assert {type(event) for event in events} == {NewDevice}


# --- keys that are refused ----------------------------------------------------------


async def test_a_swapped_bundle_is_told_once_although_nothing_could_be_sent(
    peers: OmemoPeers,
) -> None:
    bob, mallory = await peers.add("bob"), await peers.add("mallory")
    async with peers.new("alice") as alice:
        await alice.devices(bob)
    number = bob.omemo.device_id
    forged = peers.server.bundles[peers.place(mallory)]
    peers.server.bundles[peers.newest, bob.jid, number] = rewritten(
        forged, bob.jid, number
    )

    async with peers.new("alice") as alice:
        for _ in range(3):
            with pytest.raises(NoDevicesError, match="another identity key"):
                await alice.encrypt(bob, "for bob only")
            alice.now += 3600
        await alice.omemo.notices.flush()

        (event,) = await told(alice)
        assert isinstance(event, KeyChanged)
        assert (event.sender, event.device) == (bob.jid, number)
        assert event.fingerprint == mallory.omemo.fingerprint
        assert event.before == bob.omemo.fingerprint


async def test_a_key_exchange_with_another_key_is_told(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await bob.read(await alice.encrypt(bob, "hello"), alice)
    # Alice's device number with the keys of somebody else, who writes first.
    mallory = await peers.add("mallory")
    sent = await mallory.encrypt(bob, "I am Alice")
    for header in sent.elements[0].iter():
        if header.tag.endswith("}header"):
            header.set("sid", str(alice.omemo.device_id))

    with pytest.raises(DecryptionError, match="another identity key"):
        await bob.read(sent, alice)
    async with bob.database.transaction():
        pass

    (event,) = await told(bob)
    assert isinstance(event, KeyChanged)
    assert event.fingerprint == mallory.omemo.fingerprint
    assert event.before == alice.omemo.fingerprint
    assert await bob.read(await alice.encrypt(bob, "still I"), alice) == "still I"


async def test_a_copied_key_is_an_alarm_and_the_original_still_counts(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    mallory = peers.new("mallory")
    await bob.devices(alice)
    sent = await alice.encrypt(bob, "I, Alice, agree")
    number = alice.omemo.device_id
    bundle = peers.server.bundles[peers.newest, alice.jid, number]
    peers.server.push(mallory.jid, [number])
    peers.server.bundles[peers.newest, mallory.jid, number] = rewritten(
        bundle, mallory.jid, number
    )

    for _ in range(2):
        with pytest.raises(DecryptionError, match="belongs to another account"):
            await bob.read(sent, mallory)
    assert await bob.read(sent, alice) == "I, Alice, agree"

    (event,) = await told(bob)
    assert isinstance(event, KeyReuse)
    assert (event.sender, event.owner) == (mallory.jid, alice.jid)
    assert event.fingerprint == alice.omemo.fingerprint
    assert event.trust == TrustLevel.DISTRUSTED.word


# --- how they are kept --------------------------------------------------------------


async def test_what_is_told_in_a_transaction_that_is_undone_is_told_with_the_next(
    tmp_path: Path,
) -> None:
    arrived: list[str] = []
    async with Database.open(tmp_path / "store.db") as database:
        notices = Notices(now=lambda: AT)
        notices.attach(database)
        notices.watch(lambda: arrived.append("news"))
        with contextlib.suppress(UndoneError):
            async with database.transaction():
                notices.add(new_device(1))
                raise UndoneError
        assert (await Inbox(database).pending(), arrived) == ([], [])

        async with database.transaction():
            pass

        assert len(await Inbox(database).pending()) == 1
        assert arrived == ["news"]


async def test_a_day_brings_32_of_one_account_256_in_all_and_firsts(
    tmp_path: Path,
) -> None:
    now = AT
    async with Database.open(tmp_path / "store.db") as database:
        notices = Notices(now=lambda: now)
        notices.attach(database)

        async def count() -> int:
            return len(await Inbox(database).pending())

        for number in range(100):
            notices.add(new_device(number))
        async with database.transaction():
            pass
        assert await count() == 32

        for account in range(20):
            for number in range(32):
                notices.add(new_device(number, JID(f"x{account}@{ONION}")))
            async with database.transaction():
                pass
        # Eight accounts brought 32 each, and thirteen others their first.
        assert await count() == 256 + 13

        now += timedelta(days=1)
        notices.add(new_device(1000))
        async with database.transaction():
            pass
        assert await count() == 270


@pytest.mark.parametrize("days", [0, 1])
async def test_nobody_can_keep_from_us_that_the_key_of_another_changed(
    tmp_path: Path, days: int
) -> None:
    now = AT
    async with Database.open(tmp_path / "store.db") as database:
        notices = Notices(now=lambda: now)
        notices.attach(database)
        for day in range(days + 1):
            now = AT + timedelta(days=day)
            for number in range(9 * 32):
                jid = JID(f"x{number // 32}@{ONION}")
                notices.add(new_device(1000 * day + number, jid))
                async with database.transaction():
                    pass
            notices.add(
                changed := KeyChanged(
                    sender=BOB, device=day, fingerprint="a" * 64, before="b" * 64, at=AT
                )
            )
            async with database.transaction():
                pass

        rows = await Inbox(database).pending()
        assert changed in [read_event(row.event_json) for row in rows]


# --- transactions that share a commit -----------------------------------------------


@pytest.mark.parametrize("is_lost", [False, True])
async def test_what_is_told_is_told_once_beside_what_is_undone(
    tmp_path: Path, *, is_lost: bool
) -> None:
    async with Database.open(tmp_path / "store.db") as database:
        notices, arrived = Notices(), []
        notices.attach(database)
        notices.watch(lambda: arrived.append(None))

        async def end_first() -> None:
            async with database.transaction(follow=lambda: True):
                notices.add(new_device(1))

        async def fail() -> None:
            async with database.transaction():
                notices.add(new_device(1))
                notices.add(new_device(2))
                if is_lost:
                    await database.execute("ROLLBACK")  # as SQLite may by itself
                await database.execute("INSERT INTO nowhere VALUES (1)")

        await asyncio.gather(end_first(), fail(), return_exceptions=True)
        await notices.flush()
        rows = await Inbox(database).pending()

    events = [read_event(row.event_json) for row in rows]
    assert [one.device for one in events if isinstance(one, NewDevice)] == [1, 2]
    assert len(arrived) == (1 if is_lost else 2)
