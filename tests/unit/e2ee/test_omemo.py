"""Encrypt and decrypt with real keys, a real store, and a server in memory."""

from collections.abc import Awaitable, Callable

from xmpp_onion.testing.omemo_peer import OmemoPeer

MakePeer = Callable[..., Awaitable[OmemoPeer]]


async def test_a_message_is_read_by_the_other_side(peer: MakePeer) -> None:
    alice, bob = await peer("alice"), await peer("bob")

    sent = await alice.encrypt(bob, "grüß dich 🧅")
    got = await bob.decrypt(sent, alice.jid)

    assert got.plaintext == "grüß dich 🧅"
    assert got.device.fingerprint == alice.omemo.fingerprint
    assert sent.devices == 1
    assert sent.skipped == ()


async def test_both_directions_work_in_one_session(peer: MakePeer) -> None:
    alice, bob = await peer("alice"), await peer("bob")

    await alice.meet(bob)

    for number in range(3):
        there = await bob.read(await alice.encrypt(bob, f"to {number}"), alice)
        back = await alice.read(await bob.encrypt(alice, f"fro {number}"), bob)
        assert (there, back) == (f"to {number}", f"fro {number}")
