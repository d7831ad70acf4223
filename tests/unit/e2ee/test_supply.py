"""What is fetched before a message, and what is known without a look."""

import pytest

from xmpp_onion.e2ee import TrustLevel, lasting
from xmpp_onion.testing.omemo_peer import OmemoPeers


async def test_a_device_whose_session_made_room_for_others_is_written_to_again(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "_DEVICES", 2)
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.encrypt(bob, "to one")
    laptop = await peers.add("bob", device="laptop")
    await alice.trust(laptop, TrustLevel.TRUSTED)
    assert (await alice.encrypt(bob, "to two")).devices == 2

    tablet = await peers.add("bob", device="tablet")  # there is no room for a third
    await alice.trust(tablet, TrustLevel.TRUSTED)
    await alice.encrypt(bob, "to three")

    sent = await alice.encrypt(bob, "to all of them")
    assert (sent.devices, sent.skipped) == (3, ())


async def test_nobody_need_be_asked_when_fetching_would_ask_nobody(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    assert not await alice.omemo.has_all_for([bob.jid])

    await alice.omemo.fetch([bob.jid])
    assert await alice.omemo.has_all_for([bob.jid])

    laptop = await peers.add("bob", device="laptop")
    is_told = laptop.omemo.device_id in alice.omemo._directory.ids(bob.jid)
    assert await alice.omemo.has_all_for([bob.jid]) is not is_told

    await alice.omemo.fetch([bob.jid])
    alice.omemo._directory.expire()
    assert not await alice.omemo.has_all_for([bob.jid])
