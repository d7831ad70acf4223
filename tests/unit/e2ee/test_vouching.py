"""Automatic trust between real devices: one scan per pair of users is enough."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.chat import TrustChanged, read_event
from xmpp_onion.e2ee import (
    OMEMO_2,
    OMEMO_OLD,
    Device,
    TellTrust,
    Trust,
    TrustLevel,
    reader_ids,
)
from xmpp_onion.e2ee.trust_messages import Word
from xmpp_onion.errors import DeviceListError
from xmpp_onion.store import Inbox
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers

VERIFIED, DISTRUSTED = TrustLevel.TRUSTED, TrustLevel.DISTRUSTED


class UndoneError(Exception):
    """What a test raises to roll a transaction back."""


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[OmemoPeers]:
    """Devices that speak both versions: only the newer one carries letters."""
    async with OmemoPeers(tmp_path) as peers:
        yield peers


async def level(peer: OmemoPeer, whom: OmemoPeer) -> TrustLevel:
    devices: tuple[Device, ...] = await peer.devices(whom)
    return {d.fingerprint: d.trust for d in devices}[whom.omemo.fingerprint]


async def changes(peer: OmemoPeer) -> list[TrustChanged]:
    rows = await Inbox(peer.database).pending()
    events = [read_event(row.event_json) for row in rows]
    return [event for event in events if isinstance(event, TrustChanged)]


async def decide(
    peer: OmemoPeer, whom: OmemoPeer, verdict: TrustLevel = VERIFIED
) -> None:
    """Decide as a person does, and keep what is to be told."""
    await peer.omemo.fetch([whom.jid])
    async with peer.database.transaction():
        await peer.omemo.keyring.set_trust(whom.jid, whom.omemo.fingerprint, verdict)
        peer.effects += peer.omemo.take_effects()


async def deliver(
    sender: OmemoPeer, job: TellTrust, peers: tuple[OmemoPeer, ...]
) -> None:
    """Encrypt a letter as the courier does, and let those decrypt it who can."""
    await sender.omemo.fetch([sender.omemo.addressee(job.payload)])
    async with sender.database.transaction():
        written = await sender.omemo.encrypt_letter(job.payload)
        sender.effects += sender.omemo.take_effects()
    if written is None:
        return
    to, encrypted = written
    readers = reader_ids(encrypted.elements)
    for peer in peers:
        if peer.jid == to and peer.omemo.device_id in readers:
            decrypted = await peer.decrypt(encrypted, sender.jid)
            assert decrypted.namespace == OMEMO_2
            assert decrypted.plain is not None
            assert decrypted.plain.text is None


async def hear(peer: OmemoPeer, speaker: OmemoPeer, element: ET.Element) -> None:
    known = {d.fingerprint: d for d in await peer.devices(speaker)}
    device = known[speaker.omemo.fingerprint]
    async with peer.database.transaction():
        manager = await peer.omemo._device.open()
        vouching, digits = peer.omemo.keyring._vouching, peer.omemo.fingerprint
        await vouching.hear(manager, device, [element], digits)
        peer.effects += peer.omemo.take_effects()


async def post(*peers: OmemoPeer) -> int:
    """Carry the letters that wait to all devices of their addressees."""
    carried = 0
    for sender in peers:
        jobs = [e for e in sender.effects if isinstance(e, TellTrust)]
        sender.effects = [e for e in sender.effects if not isinstance(e, TellTrust)]
        for job in jobs:
            carried += 1
            await deliver(sender, job, peers)
    return carried


async def circulate(*peers: OmemoPeer) -> int:
    """Carry letters until there are none; return how many there were."""
    total = 0
    while carried := await post(*peers):
        total += carried
        assert total < 100
    return total


async def test_one_scan_makes_two_and_two_devices_verify_each_other(
    peers: OmemoPeers,
) -> None:
    a1, a2 = await peers.add("alice"), await peers.add("alice", device="laptop")
    b1, b2 = await peers.add("bob"), await peers.add("bob", device="laptop")
    everybody = (a1, a2, b1, b2)
    for one, other in ((a1, a2), (a2, a1), (b1, b2), (b2, b1)):
        await decide(one, other)
    await circulate(*everybody)

    await decide(a1, b1)
    await decide(b1, a1)
    letters = await circulate(*everybody)

    for one in everybody:
        for other in everybody:
            if one is not other:
                assert await level(one, other) is VERIFIED
    assert letters <= 8
    (told,) = await changes(a1)
    assert (told.sender, told.by, told.trust) == (b2.jid, b1.jid, "verified")


async def test_a_new_device_learns_everybody_from_the_one_that_verified_it(
    peers: OmemoPeers,
) -> None:
    a1, b1 = await peers.add("alice"), await peers.add("bob")
    await decide(a1, b1)
    await decide(b1, a1)
    await circulate(a1, b1)
    a2 = await peers.add("alice", Trust.MANUAL, device="laptop")

    await decide(a1, a2)
    await decide(a2, a1)
    await a2.devices(b1)
    await circulate(a1, a2, b1)

    assert await level(b1, a2) is VERIFIED
    assert await level(a2, b1) is VERIFIED


async def test_a_word_waits_until_its_speaker_is_verified(peers: OmemoPeers) -> None:
    a1 = await peers.add("alice", Trust.BTBV)
    b1, b2 = await peers.add("bob"), await peers.add("bob", device="laptop")
    await decide(b1, b2)
    await decide(b1, a1)
    await circulate(a1, b1, b2)
    assert await level(a1, b2) is TrustLevel.BLINDLY_TRUSTED

    await decide(a1, b1)

    assert await level(a1, b2) is VERIFIED


async def test_a_word_waits_over_a_restart_until_its_key_is_known(
    peers: OmemoPeers,
) -> None:
    b1 = await peers.add("bob")
    async with peers.new("alice", Trust.MANUAL) as a1:
        await decide(a1, b1)
        await decide(b1, a1)
        b2 = await peers.add("bob", device="laptop")
        peers.server.put(b1.jid, [b1.omemo.device_id])
        await decide(b1, b2)
        await circulate(a1, b1)
    b3 = b2.omemo.device_id
    peers.server.put(b1.jid, [b1.omemo.device_id, b3])

    async with peers.new("alice", Trust.MANUAL) as a1:
        assert await level(a1, b2) is VERIFIED


async def test_a_contact_says_nothing_about_others_or_about_us(
    peers: OmemoPeers,
) -> None:
    a1 = await peers.add("alice", Trust.MANUAL)
    a2 = await peers.add("alice", device="laptop")
    bob, mallory = await peers.add("bob"), await peers.add("mallory")
    await decide(a1, mallory)
    await a1.devices(bob)
    for whom in (a1, a2, bob):
        await decide(mallory, whom)
    async with mallory.database.transaction():
        manager = await mallory.omemo._device.open()
        words = [
            word
            for whom in (a1, a2, bob)
            for word in [Word(whom.jid, whom.omemo.fingerprint, is_trusted=True)]
        ]
        element = await mallory.omemo.keyring._vouching.element(manager, words)
    assert element is not None

    await hear(a1, mallory, element)

    assert await level(a1, bob) is TrustLevel.UNDECIDED
    assert await level(a1, a2) is TrustLevel.UNDECIDED


async def test_a_distrust_reaches_our_other_devices_and_stays(
    peers: OmemoPeers,
) -> None:
    a1, a2 = await peers.add("alice"), await peers.add("alice", device="laptop")
    bob = await peers.add("bob")
    await decide(a1, a2)
    await decide(a2, a1)
    await decide(a2, bob)
    await circulate(a1, a2, bob)
    assert await level(a1, bob) is VERIFIED

    await decide(a1, bob, DISTRUSTED)
    await circulate(a1, a2, bob)
    assert await level(a2, bob) is DISTRUSTED

    await decide(a1, bob, VERIFIED)
    await circulate(a1, a2, bob)
    assert await level(a2, bob) is DISTRUSTED  # a person has to say so there


async def test_nobody_else_decides_about_this_very_device(peers: OmemoPeers) -> None:
    a1, a2 = await peers.add("alice"), await peers.add("alice", device="laptop")
    bob = await peers.add("bob")
    await decide(a1, a2)
    await a2.devices(a1)
    async with a2.database.transaction():
        manager = await a2.omemo._device.open()
        word = Word(a1.jid, a1.omemo.fingerprint, is_trusted=False)
        element = await a2.omemo.keyring._vouching.element(manager, [word])
    assert element is not None

    await hear(a1, a2, element)

    assert await changes(a1) == []
    sent = await a1.encrypt(bob, "still here")

    assert await bob.read(sent, a1) == "still here"


async def test_it_can_be_switched_off(peers: OmemoPeers) -> None:
    b1, b2 = await peers.add("bob"), await peers.add("bob", device="laptop")
    a1 = peers.new("alice", Trust.BTBV, automatic_trust=False)
    async with a1:
        await decide(b1, b2)
        await decide(b1, a1)
        await decide(a1, b1)
        assert await circulate(a1) == 0
        await circulate(a1, b1, b2)
        assert await level(a1, b2) is TrustLevel.BLINDLY_TRUSTED

    async with peers.new("alice", Trust.BTBV) as a1:
        await decide(a1, b1)  # what was said meanwhile was not kept
        assert await level(a1, b2) is TrustLevel.BLINDLY_TRUSTED


async def test_pinned_hears_nobody(peers: OmemoPeers) -> None:
    b1, b2 = await peers.add("bob"), await peers.add("bob", device="laptop")
    pins = {b1.jid: frozenset({b1.omemo.fingerprint})}
    a1 = await peers.add("alice", Trust.PINNED, pins=pins)
    await decide(b1, b2)
    await decide(b1, a1)
    await circulate(a1, b1, b2)

    assert await level(a1, b2) is DISTRUSTED


async def test_what_is_heard_in_a_transaction_that_is_undone_was_not_heard(
    peers: OmemoPeers,
) -> None:
    a1 = await peers.add("alice", Trust.MANUAL)
    b1, b2 = await peers.add("bob"), await peers.add("bob", device="laptop")
    await decide(a1, b1)
    await decide(b1, b2)
    await a1.devices(b1)
    async with b1.database.transaction():
        manager = await b1.omemo._device.open()
        word = Word(b2.jid, b2.omemo.fingerprint, is_trusted=True)
        element = await b1.omemo.keyring._vouching.element(manager, [word])
    assert element is not None
    known = {d.fingerprint: d for d in await a1.devices(b1)}

    with contextlib.suppress(UndoneError):
        async with a1.database.transaction():
            manager = await a1.omemo._device.open()
            speaker = known[b1.omemo.fingerprint]
            digits = a1.omemo.fingerprint
            await a1.omemo.keyring._vouching.hear(manager, speaker, [element], digits)
            raise UndoneError

    assert await level(a1, b2) is TrustLevel.UNDECIDED


async def test_only_verified_devices_can_read_a_letter(peers: OmemoPeers) -> None:
    a1, a2 = await peers.add("alice"), await peers.add("alice", device="laptop")
    b1, _ = await peers.add("bob"), await peers.add("bob", device="laptop")
    await decide(a1, a2)
    await decide(a1, b1)
    jobs = [e for e in a1.effects if isinstance(e, TellTrust)]
    readers = {}
    for job in jobs:
        await a1.omemo.fetch([a1.omemo.addressee(job.payload)])
        async with a1.database.transaction():
            written = await a1.omemo.encrypt_letter(job.payload)
        assert written is not None
        readers[written[0]] = reader_ids(written[1].elements)

    assert readers == {
        a1.jid: {a2.omemo.device_id},
        b1.jid: {b1.omemo.device_id},
    }


async def test_a_device_of_the_old_version_gets_no_letter(peers: OmemoPeers) -> None:
    peers.server.versions = (OMEMO_OLD,)
    a1, a2 = await peers.add("alice"), await peers.add("alice", device="laptop")
    bob = await peers.add("bob")
    await decide(a1, a2)
    await decide(a1, bob)
    jobs = [e for e in a1.effects if isinstance(e, TellTrust)]
    (job,) = [j for j in jobs if a1.omemo.addressee(j.payload) == bob.jid]

    async with a1.database.transaction():
        assert await a1.omemo.encrypt_letter(job.payload) is None


async def test_a_letter_waits_for_a_bundle_that_is_missing(peers: OmemoPeers) -> None:
    a1, a2 = await peers.add("alice"), await peers.add("alice", device="laptop")
    bob = await peers.add("bob")
    await decide(a1, a2)
    await decide(a1, bob)
    place = (OMEMO_2, bob.jid, bob.omemo.device_id)
    bundle = peers.server.bundles.pop(place)
    jobs = [e for e in a1.effects if isinstance(e, TellTrust)]
    (job,) = [j for j in jobs if a1.omemo.addressee(j.payload) == bob.jid]
    a1.omemo._directory.bundles.clear()

    with pytest.raises(DeviceListError):
        await deliver(a1, job, (bob,))
    peers.server.bundles[place] = bundle
    a1.now += 3600
    await deliver(a1, job, (bob,))

    assert await level(bob, a2) is TrustLevel.BLINDLY_TRUSTED  # heard, not yet believed
    assert await bob.omemo.keyring._vouching._load()
