"""What is remembered of devices is what the library would read."""

import pytest

from xmpp_onion.e2ee import Trust, TrustLevel, remembered
from xmpp_onion.errors import StoreError
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers


async def both(peer: OmemoPeer, whose: OmemoPeer) -> tuple[object, object]:
    """Return what is remembered of somebody's devices, and what the library reads."""
    async with peer.database.transaction():
        manager = await peer.omemo._device.open()
        seen = await manager.get_device_information(whose.jid)
        peer.omemo._door.records.forget()
        return seen, await manager.get_device_information(whose.jid)


async def test_whatever_changes_what_is_remembered_is_what_the_library_reads(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    await alice.meet(bob)
    for step in range(5):
        await alice.devices(bob)  # from now on something is remembered
        match step:
            case 1:
                await peers.add("bob", device="laptop")
            case 2:
                await alice.trust(bob, TrustLevel.DISTRUSTED)
            case 3:
                peers.server.push(bob.jid, [bob.omemo.device_id])
                await alice.devices(bob)
            case 4:
                peers.server.push(bob.jid, {bob.omemo.device_id: None, 77: None})
                await alice.devices(bob)

        seen, read = await both(alice, bob)

        assert seen == read, step


async def test_what_a_roll_back_undoes_is_not_remembered(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    await alice.meet(bob)

    with pytest.raises(StoreError):
        await distrust_and_fail(alice, bob)

    [device] = await alice.devices(bob)
    assert device.trust is TrustLevel.BLINDLY_TRUSTED
    seen, read = await both(alice, bob)
    assert seen == read


async def distrust_and_fail(alice: OmemoPeer, bob: OmemoPeer) -> None:
    async with alice.database.transaction():
        jid, fingerprint = bob.jid, bob.omemo.fingerprint
        await alice.omemo.keyring.set_trust(jid, fingerprint, TrustLevel.DISTRUSTED)
        assert (
            await alice.omemo.keyring.level(jid, fingerprint) is TrustLevel.DISTRUSTED
        )
        await alice.database.fetch("no SQL")


async def test_a_key_that_was_missing_is_looked_for_the_next_time(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    bundles = peers.server.bundles
    number = laptop.omemo.device_id
    kept = {place: bundles.pop(place) for place in [*bundles] if place[2] == number}
    assert len(await alice.devices(bob)) == 1

    bundles |= kept
    alice.now += 3600  # what is missing is not asked for again soon

    assert len(await alice.devices(bob)) == 2


async def test_no_more_accounts_are_remembered_than_a_room_has(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_ACCOUNTS", 2)
    alice = await peers.add("alice", Trust.BTBV)
    names = ["bob", "carol", "dave"]
    others = [await peers.add(name) for name in names]

    for other in others:
        await alice.devices(other)  # and decides about the device, which is a change
        await alice.devices(other)

    infos = alice.omemo._door.records._infos
    assert len(infos) == 2
    assert others[0].jid not in infos


async def test_a_message_reads_no_device_record_twice(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    await alice.meet(bob)
    loads: list[str] = []
    storage, load = alice.omemo._storage, alice.omemo._storage._load

    async def count(key: str) -> object:
        loads.append(key)
        return await load(key)

    monkeypatch.setattr(storage, "_load", count)

    await alice.encrypt(bob, "hello")

    assert not [key for key in loads if key.startswith(f"/devices/{bob.jid}/")]


async def test_a_level_is_known_without_a_transaction_until_something_changes(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    jid, fingerprint = bob.jid, bob.omemo.fingerprint
    await alice.meet(bob)
    await alice.devices(bob)
    known = alice.omemo.keyring.known_level

    assert await known(jid, fingerprint) is TrustLevel.BLINDLY_TRUSTED
    assert await known(jid, "0" * 64) is None

    async with alice.database.transaction():
        await alice.omemo.keyring.set_trust(jid, fingerprint, TrustLevel.DISTRUSTED)
        await alice.omemo.keyring.level(jid, fingerprint)
        assert await known(jid, fingerprint) is None, "others may not see it yet"
    assert await known(jid, fingerprint) is TrustLevel.DISTRUSTED

    async with alice.database.transaction():
        await alice.omemo.keyring.set_trust(jid, fingerprint, TrustLevel.UNDECIDED)
        await alice.omemo.policies.set(jid, Trust.MANUAL)
        await alice.omemo.keyring.level(jid, fingerprint)
    async with alice.database.transaction():
        await alice.omemo.policies.set(jid, Trust.BTBV)
    assert await known(jid, fingerprint) is None


async def test_a_level_that_a_roll_back_undid_is_not_known(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    await alice.meet(bob)
    await alice.devices(bob)

    with pytest.raises(StoreError):
        await distrust_and_fail(alice, bob)

    known = alice.omemo.keyring.known_level
    assert await known(bob.jid, bob.omemo.fingerprint) in {
        None,
        TrustLevel.BLINDLY_TRUSTED,
    }
