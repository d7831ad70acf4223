"""What a person says about a key counts more than who showed it first (T24)."""

import base64

import omemo
import pytest
import xeddsa
from oldmemo import oldmemo
from twomemo import twomemo

from xmpp_onion.address import JID
from xmpp_onion.chat import Event, KeyChanged, KeyReuse, read_event
from xmpp_onion.e2ee import (
    NAMESPACES,
    OMEMO_OLD,
    Device,
    TrustLevel,
    TrustUri,
    UploadBundle,
    Withdraw,
    check_scan,
)
from xmpp_onion.e2ee.session_manager import NEW
from xmpp_onion.errors import (
    DecryptionError,
    EncryptionError,
    FingerprintMismatchError,
    NoDevicesError,
)
from xmpp_onion.store import Inbox
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers

VERIFIED = TrustLevel.TRUSTED


async def told(peer: OmemoPeer) -> list[Event]:
    return [read_event(row.event_json) for row in await Inbox(peer.database).pending()]


async def verify(peer: OmemoPeer, jid: JID, fingerprint: str) -> Device:
    """Verify a key that is not known, as the notary does."""
    await peer.omemo.keyring.fetch_anew(jid)
    async with peer.database.transaction():
        await peer.omemo.keyring.install(jid, fingerprint)
        device = await peer.omemo.keyring.set_trust(jid, fingerprint, VERIFIED)
        peer.effects += peer.omemo.take_effects()
    return device


async def scan(peer: OmemoPeer, jid: JID, device_id: int, fingerprint: str) -> None:
    """Scan a code that names a key that is not known, as the notary does."""
    await peer.omemo.fetch([jid])
    async with peer.database.transaction():
        uri = TrustUri(jid, ((device_id, fingerprint),))
        devices = await peer.omemo.keyring.known(jid)
        check_scan(uri, devices, await peer.omemo.keyring.owners([fingerprint]))
        await peer.omemo.keyring.install(jid, fingerprint, device_id)
        await peer.omemo.keyring.promise([(jid, fingerprint, VERIFIED)])
        peer.effects += peer.omemo.take_effects()


def copy_bundles(peers: OmemoPeers, of: OmemoPeer, to: JID) -> None:
    """Publish somebody's bundles as those of another account."""
    number = of.omemo.device_id
    peers.server.push(to, [number])
    for (namespace, jid, device_id), bundle in [*peers.server.bundles.items()]:
        if (jid, device_id) == (of.jid, number):
            place = (namespace, to, number)
            peers.server.bundles[place] = rewritten(bundle, to)


def rewritten(bundle: omemo.Bundle, jid: JID) -> omemo.Bundle:
    assert isinstance(bundle, oldmemo.BundleImpl | twomemo.BundleImpl)
    return type(bundle)(
        jid,
        bundle.device_id,
        bundle.bundle,
        bundle.signed_pre_key_id,
        bundle.pre_key_ids,
    )


async def take_new_keys(peer: OmemoPeer) -> None:
    """Have a device come back under its number, with nothing else of what it had."""
    number = peer.omemo.device_id
    own = f"/devices/{peer.jid}/{number}"
    async with peer.database.transaction():
        await peer.database.execute(
            "DELETE FROM keys WHERE key != '/own_device_id' AND key NOT LIKE ? "
            "AND key NOT LIKE ?",
            (f"{own}/%", f"/devices/{peer.jid}/list"),
        )
    await peer.__aexit__(None, None, None)
    await peer.open()
    async with peer.database.transaction():
        await peer.omemo._device._draw_identity()
        storage = peer.omemo._storage
        seed = (await storage.load_bytes("/ikp/key")).from_just()
        key = xeddsa.seed_to_ed25519_pub(seed)
        await storage.store_bytes(f"{own}/identity_key", key)
        digits = base64.urlsafe_b64encode(key).decode()
        await storage.store(f"/trust/{peer.jid}/{digits}", NEW)
        await peer.omemo._device.open()
        for backend in peer.omemo._device.backends.values():
            await backend.generate_pre_keys(100)
    await peer.omemo.prepare(peer.database)
    for namespace in NAMESPACES:
        await peer.omemo.perform(UploadBundle.kind, namespace)
    assert peer.omemo.device_id == number


@pytest.mark.parametrize("how", ["verified", "scanned"])
async def test_a_key_goes_to_whom_a_person_says_and_who_copied_it_loses_it(
    peers: OmemoPeers, how: str
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    mallory = peers.new("mallory").jid
    copy_bundles(peers, bob, mallory)
    await alice.omemo.fetch([mallory])
    async with alice.database.transaction():
        (squatter,) = await alice.omemo.keyring.devices(mallory)
    with pytest.raises(NoDevicesError, match="belongs to another account"):
        await alice.encrypt(bob, "not yet")

    if how == "verified":
        await verify(alice, bob.jid, bob.omemo.fingerprint)
    else:
        await scan(alice, bob.jid, bob.omemo.device_id, bob.omemo.fingerprint)

    alice.now += 3601
    assert await bob.read(await alice.encrypt(bob, "hello"), alice) == "hello"
    (device,) = await alice.devices(bob)
    assert (device.fingerprint, device.trust) == (bob.omemo.fingerprint, VERIFIED)
    await alice.omemo.fetch([mallory])
    async with alice.database.transaction():
        assert await alice.omemo.keyring.known(mallory) == ()
    losses = [e for e in await told(alice) if isinstance(e, KeyReuse)]
    assert (losses[-1].sender, losses[-1].owner) == (mallory, bob.jid)
    withdrawn = [e.device for e in alice.effects if isinstance(e, Withdraw)]
    assert [(d.jid, d.device_id) for d in withdrawn] == [(mallory, squatter.device_id)]


async def test_a_session_that_was_begun_with_a_copied_key_is_gone(
    peers: OmemoPeers,
) -> None:
    peers.server.versions = (OMEMO_OLD,)  # the newer one names the sender inside
    alice, bob = await peers.add("alice"), await peers.add("bob")
    mallory = peers.new("mallory").jid
    copy_bundles(peers, bob, mallory)
    sent = await bob.encrypt(alice, "I, Bob, agree")
    # The key exchange is Bob's, and Mallory passes it on before anybody compared.
    assert (await alice.decrypt(sent, mallory)).device.jid == mallory
    again = await bob.encrypt(alice, "and again")

    await verify(alice, bob.jid, bob.omemo.fingerprint)

    with pytest.raises(DecryptionError):
        await alice.decrypt(again, mallory)


async def test_a_key_that_changed_is_accepted_when_a_person_verifies_it(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    before = bob.omemo.fingerprint
    await alice.trust(bob, VERIFIED)
    await take_new_keys(bob)
    with pytest.raises(DecryptionError):
        await alice.read(await bob.encrypt(alice, "who is this?"), bob)

    device = await verify(alice, bob.jid, bob.omemo.fingerprint)

    assert (device.fingerprint, device.trust) == (bob.omemo.fingerprint, VERIFIED)
    assert [d.fingerprint for d in await alice.devices(bob)] == [device.fingerprint]
    assert await bob.read(await alice.encrypt(bob, "welcome"), alice) == "welcome"
    assert await alice.read(await bob.encrypt(alice, "back"), bob) == "back"
    withdrawn = [e.device for e in alice.effects if isinstance(e, Withdraw)]
    assert [d.fingerprint for d in withdrawn] == [before]


async def test_a_scan_puts_a_key_of_nobody_out_of_its_place_for_good(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)  # with a key that Bob's server made
    number, false = bob.omemo.device_id, bob.omemo.fingerprint
    shown = {**peers.server.bundles}
    await take_new_keys(bob)
    true, real = bob.omemo.fingerprint, {**peers.server.bundles}
    peers.server.bundles = shown

    await scan(alice, bob.jid, number, true)

    with pytest.raises(NoDevicesError, match="verified another identity key"):
        await alice.encrypt(bob, "for bob only")
    assert await alice.devices(bob) == ()
    peers.server.bundles = real
    alice.now += 3601
    assert await bob.read(await alice.encrypt(bob, "for bob"), alice) == "for bob"
    (device,) = await alice.devices(bob)
    assert (device.fingerprint, device.trust) == (true, VERIFIED)
    changes = [e for e in await told(alice) if isinstance(e, KeyChanged)]
    assert (changes[-1].fingerprint, changes[-1].before) == (true, false)


async def test_a_key_that_was_put_out_comes_back_when_a_person_says_so(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    await scan(alice, bob.jid, bob.omemo.device_id, "ab" * 32)  # the wrong code

    await verify(alice, bob.jid, bob.omemo.fingerprint)

    assert await bob.read(await alice.encrypt(bob, "sorry"), alice) == "sorry"


@pytest.mark.parametrize("of", ["verified", "pinned", "own"])
async def test_what_is_beyond_doubt_is_an_alarm_and_stays(
    peers: OmemoPeers, of: str
) -> None:
    carol = await peers.add("carol")
    pins = {carol.jid: frozenset({carol.omemo.fingerprint})}
    alice = await peers.add("alice", pins=pins if of == "pinned" else None)
    bob = await peers.add("bob")
    key = alice.omemo.fingerprint if of == "own" else carol.omemo.fingerprint
    await alice.encrypt(carol, "known")
    if of == "verified":
        await alice.trust(carol, VERIFIED)
    copy_bundles(peers, alice if of == "own" else carol, bob.jid)

    with pytest.raises(FingerprintMismatchError, match="ALARM"):
        await verify(alice, bob.jid, key)
    with pytest.raises(FingerprintMismatchError, match="ALARM"):
        await scan(alice, bob.jid, 7, key)

    assert await carol.read(await alice.encrypt(carol, "still"), alice) == "still"


async def test_a_key_that_nobody_shows_changes_nothing(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.encrypt(bob, "known")

    with pytest.raises(EncryptionError, match="no device with that fingerprint"):
        await verify(alice, bob.jid, "ab" * 32)

    (device,) = await alice.devices(bob)
    assert device.fingerprint == bob.omemo.fingerprint
