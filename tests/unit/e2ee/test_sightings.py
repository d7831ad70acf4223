"""When a device was last heard of, to the hour."""

from datetime import UTC, datetime, timedelta

from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers


async def seen(peer: OmemoPeer, whom: OmemoPeer) -> list[datetime | None]:
    return [device.seen for device in await peer.devices(whom)]


async def test_a_device_that_wrote_was_seen_in_this_hour(peers: OmemoPeers) -> None:
    bob = await peers.add("bob")
    async with peers.new("alice") as alice:
        await alice.devices(bob)
        assert await seen(alice, bob) == [None]
        await alice.read(await bob.encrypt(alice, "hello"), bob)

    async with peers.new("alice") as alice:
        (at,) = await seen(alice, bob)

    assert at is not None
    assert at.tzinfo is UTC
    assert (at.minute, at.second) == (0, 0)
    assert timedelta() <= datetime.now(UTC) - at < timedelta(hours=2)
    assert await seen(bob, alice) == [None]  # Alice has not written
