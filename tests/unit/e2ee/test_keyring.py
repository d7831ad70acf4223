"""What is known of devices, and what a person decided about them."""

import pytest

from xmpp_onion.address import JID
from xmpp_onion.e2ee import TrustLevel, Withdraw
from xmpp_onion.errors import DeviceListError, EncryptionError
from xmpp_onion.testing.omemo_peer import OmemoPeers

NEW_KEY = "ab" * 32


async def test_a_decision_is_about_a_device_that_exists(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.omemo.fetch([bob.jid])
    keyring = alice.omemo.keyring

    async with alice.database.transaction():
        with pytest.raises(EncryptionError, match="trust list"):
            await keyring.set_trust(bob.jid, "0" * 64, TrustLevel.TRUSTED)
        digits = bob.omemo.fingerprint
        grouped = f"{digits[:32].upper()} {digits[32:]}"
        device = await keyring.set_trust(bob.jid, grouped, TrustLevel.TRUSTED)

    assert device.trust is TrustLevel.TRUSTED
    assert (await alice.devices(bob)) == (device,)


async def test_the_devices_of_a_silent_server_are_an_error_not_an_empty_list(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    alice.pep.failures = 2

    with pytest.raises(DeviceListError):
        await alice.devices(bob)
    assert len(await alice.devices(bob)) == 1


async def test_who_was_never_heard_of_has_no_devices_and_no_error(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")

    async with alice.database.transaction():
        assert await alice.omemo.keyring.known(bob.jid) == ()
        assert await alice.omemo.keyring.decided() == ()
        level = await alice.omemo.keyring.level(bob.jid, NEW_KEY)
    assert level is TrustLevel.UNDECIDED


async def test_a_device_that_was_refused_is_told_apart_and_gets_nothing_more(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    await alice.trust(bob, TrustLevel.TRUSTED)
    keyring = alice.omemo.keyring

    async with alice.database.transaction():
        await keyring.set_trust(
            bob.jid, laptop.omemo.fingerprint, TrustLevel.DISTRUSTED
        )
        effects = alice.omemo.take_effects()
        (refused,) = await keyring.refused(bob.jid)
        decided = await keyring.decided()

    assert refused.fingerprint == laptop.omemo.fingerprint
    assert {device.fingerprint for device in decided} == {
        bob.omemo.fingerprint,
        laptop.omemo.fingerprint,
    }
    assert [e.device.device_id for e in effects if isinstance(e, Withdraw)] == [
        laptop.omemo.device_id
    ]


async def test_a_word_about_a_key_that_is_not_known_is_kept_and_taken_back(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")
    keyring = alice.omemo.keyring

    async def promised(level: TrustLevel) -> dict[tuple[JID, str], TrustLevel]:
        async with alice.database.transaction():
            await keyring.promise([(bob.jid, NEW_KEY, level)])
        async with alice.database.transaction():
            return await keyring.promised()

    for level in (TrustLevel.TRUSTED, TrustLevel.DISTRUSTED):
        assert await promised(level) == {(bob.jid, NEW_KEY): level}


async def test_a_key_that_somebody_verified_has_an_owner(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.trust(bob, TrustLevel.TRUSTED)

    async with alice.database.transaction():
        owners = await alice.omemo.keyring.owners([bob.omemo.fingerprint, NEW_KEY])

    assert owners == {bob.omemo.fingerprint: bob.jid}
