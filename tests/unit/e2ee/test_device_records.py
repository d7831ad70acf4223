"""What is kept about devices has an end, and what matters is kept."""

import pytest

from xmpp_onion.e2ee import Trust, TrustLevel, device_records
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers


async def names(peer: OmemoPeer, prefix: str = "/") -> list[str]:
    async with peer.database.transaction():
        return await peer.omemo._storage.names(prefix)


async def test_who_lists_other_devices_every_time_fills_nothing(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    await alice.meet(bob)

    for turn in range(20):
        others = range(1000 * turn + 1, 1000 * turn + 31)
        peers.server.push(bob.jid, [bob.omemo.device_id, *others])
        await alice.devices(bob)

    # Four rows for each of 96 devices, and what belongs to the real one.
    assert len(await names(alice, f"/devices/{bob.jid}/")) < 400
    assert await bob.read(await alice.encrypt(bob, "still there"), alice)
    assert await alice.read(await bob.encrypt(alice, "so am I"), bob)


async def test_what_somebody_decided_about_is_kept_however_many_come(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_records, "_MOST", 1)
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    await alice.trust(laptop, TrustLevel.DISTRUSTED)

    peers.server.push(bob.jid, [bob.omemo.device_id])

    known = {device.fingerprint: device.trust for device in await alice.devices(bob)}
    assert known[laptop.omemo.fingerprint] is TrustLevel.DISTRUSTED


async def test_what_is_forgotten_about_a_device_is_all_of_it(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_records, "_MOST", 1)
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    await alice.devices(bob)
    number, digits = laptop.omemo.device_id, laptop.omemo.fingerprint
    before = [n for n in await names(alice) if f"/{number}" in n or digits in n]

    peers.server.push(bob.jid, [bob.omemo.device_id])
    await alice.devices(bob)

    left = await names(alice)
    assert len(before) == 5
    assert len([n for n in left if n.startswith(f"/trust/{bob.jid}/")]) == 1
    assert [n for n in left if f"/{number}" in n or digits in n] == []
    # It may come back, as a new one.
    peers.server.push(bob.jid, [bob.omemo.device_id, number])
    assert await alice.read(await laptop.encrypt(alice, "here again"), laptop)


async def test_a_device_with_a_session_is_kept(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_records, "_MOST", 1)
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    await alice.read(await laptop.encrypt(alice, "hello"), laptop)
    late = await laptop.encrypt(alice, "late")

    peers.server.push(bob.jid, [bob.omemo.device_id])
    await alice.devices(bob)

    assert await alice.read(late, laptop) == "late"


async def test_this_device_is_never_forgotten(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_records, "_MOST", 1)
    alice = await peers.add("alice", Trust.BTBV)
    bob = await peers.add("bob")
    number = alice.omemo.device_id

    peers.server.push(alice.jid, range(1, 31))
    await alice.encrypt(bob, "hello")

    assert f"/devices/{alice.jid}/{number}/identity_key" in await names(alice)
