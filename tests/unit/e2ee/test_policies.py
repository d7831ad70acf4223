"""A contact may have a policy of its own."""

import contextlib

import pytest

from xmpp_onion.e2ee import Trust, TrustLevel
from xmpp_onion.errors import EncryptionError, NoDevicesError, UndecidedDevicesError
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers


class UndoneError(Exception):
    """What a test raises to roll a transaction back."""


async def choose(peer: OmemoPeer, whom: OmemoPeer, policy: Trust | None) -> None:
    async with peer.database.transaction():
        await peer.omemo.policies.set(whom.jid, policy)


async def trust_of(peer: OmemoPeer, whom: OmemoPeer) -> TrustLevel:
    return (await peer.devices(whom))[0].trust


async def test_a_stricter_policy_for_one_contact_holds_for_that_one_alone(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice", Trust.BTBV)
    bob, carol = await peers.add("bob"), await peers.add("carol")
    assert await trust_of(alice, bob) is TrustLevel.BLINDLY_TRUSTED

    await choose(alice, bob, Trust.MANUAL)

    with pytest.raises(UndecidedDevicesError):
        await alice.encrypt(bob, "for bob")
    assert await carol.read(await alice.encrypt(carol, "hi"), alice) == "hi"
    assert await trust_of(alice, bob) is TrustLevel.UNDECIDED


async def test_a_laxer_policy_for_one_contact_holds_for_that_one_alone(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice", Trust.PINNED)
    bob, carol = await peers.add("bob"), await peers.add("carol")

    await choose(alice, bob, Trust.TOFU)

    assert await bob.read(await alice.encrypt(bob, "hi"), alice) == "hi"
    with pytest.raises(UndecidedDevicesError):
        await alice.encrypt(carol, "for carol")


async def test_a_policy_survives_a_restart_and_can_be_taken_away(
    peers: OmemoPeers,
) -> None:
    bob = await peers.add("bob")
    async with peers.new("alice", Trust.BTBV) as alice:
        await choose(alice, bob, Trust.PINNED)

    async with peers.new("alice", Trust.BTBV) as alice:
        assert dict(await alice.omemo.policies.all()) == {bob.jid: Trust.PINNED}
        with pytest.raises(UndecidedDevicesError):
            await alice.encrypt(bob, "for bob")
        await choose(alice, bob, None)
        assert await bob.read(await alice.encrypt(bob, "hi"), alice) == "hi"


async def test_a_policy_that_is_rolled_back_does_not_hold(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")

    with contextlib.suppress(UndoneError):
        async with alice.database.transaction():
            await alice.omemo.policies.set(bob.jid, Trust.PINNED)
            raise UndoneError

    assert await alice.omemo.policies.of(bob.jid) is Trust.BTBV


@pytest.mark.parametrize("policy", Trust)
async def test_a_new_device_of_our_own_is_never_accepted_by_itself(
    peers: OmemoPeers, policy: Trust
) -> None:
    phone = await peers.add("alice", policy)
    await peers.add("alice", policy, device="laptop")

    (laptop,) = [
        d for d in await phone.devices(phone) if d.device_id != phone.omemo.device_id
    ]

    assert laptop.own
    assert laptop.trust in {TrustLevel.UNDECIDED, TrustLevel.DISTRUSTED}
    with pytest.raises(EncryptionError, match="our own account"):
        await choose(phone, phone, Trust.TOFU)


@pytest.mark.parametrize("level", [TrustLevel.TRUSTED, TrustLevel.DISTRUSTED])
async def test_after_one_decision_new_devices_are_undecided_under_btbv(
    peers: OmemoPeers, level: TrustLevel
) -> None:
    alice = await peers.add("alice", Trust.BTBV)
    phone = await peers.add("bob")
    await alice.trust(phone, level)

    await peers.add("bob", device="laptop")

    with pytest.raises((UndecidedDevicesError, NoDevicesError)) as caught:
        await alice.encrypt(phone, "hi")
    assert isinstance(caught.value, UndecidedDevicesError)
