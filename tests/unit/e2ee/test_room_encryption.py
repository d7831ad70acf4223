"""One message for a room: all members read it, and nobody silences the others."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import JID
from xmpp_onion.e2ee import OMEMO_2, Plain, RoomEncrypted, Trust, TrustLevel
from xmpp_onion.e2ee.header import reader_ids
from xmpp_onion.e2ee.parts import size
from xmpp_onion.errors import DecryptionError, NoDevicesError, UndecidedDevicesError
from xmpp_onion.testing.omemo_peer import ONION, OmemoPeer, OmemoPeers

ROOM = JID(f"friends@muc.{ONION}")
OTHER_ROOM = JID(f"enemies@muc.{ONION}")


async def say(
    peer: OmemoPeer,
    members: Sequence[OmemoPeer | JID],
    text: str = "hello all",
    *,
    limit_bytes: int = 100_000,
) -> RoomEncrypted:
    jids = [one.jid if isinstance(one, OmemoPeer) else one for one in members]
    await peer.omemo.fetch(jids)
    async with peer.database.transaction():
        said = await peer.omemo.rooms.encrypt(
            jids, Plain(text), ROOM, limit_bytes=limit_bytes
        )
        peer.effects += peer.omemo.take_effects()
    return said


async def hear(
    peer: OmemoPeer,
    elements: Sequence[ET.Element],
    sender: JID,
    *,
    room: JID | None = ROOM,
) -> str | None:
    await peer.omemo.fetch_sender(elements, sender)
    async with peer.database.transaction():
        decrypted = await peer.omemo.decrypt(elements, sender, room=room)
        peer.effects += peer.omemo.take_effects()
    return decrypted.plain.text if decrypted.plain else None


async def test_all_devices_of_all_members_read_one_stanza(peers: OmemoPeers) -> None:
    alice, bob, carol = [await peers.add(n) for n in ("alice", "bob", "carol")]
    tablet = await peers.add("carol", device="tablet")
    said = await say(alice, [alice, bob, carol])

    assert (said.devices, said.skipped, len(said.parts)) == (3, (), 1)
    for peer in (bob, carol, tablet):
        assert await hear(peer, said.parts[0], alice.jid) == "hello all"
    assert said.readers == {
        bob.jid: {bob.omemo.device_id},
        carol.jid: {carol.omemo.device_id, tablet.omemo.device_id},
    }


async def test_keys_of_a_whole_room_are_fetched_in_two_flights(
    tmp_path: Path,
) -> None:
    async with OmemoPeers(tmp_path) as peers:
        alice = await peers.add("alice")
        others = [await peers.add(f"member{number}") for number in range(12)]
        alice.pep.flights = 0

        await alice.omemo.fetch([one.jid for one in others])

        assert alice.pep.flights == 2
        assert max(Counter(alice.pep.requests).values()) == 1


async def test_a_member_without_a_usable_device_is_left_out_and_named(
    peers: OmemoPeers,
) -> None:
    alice, bob, carol = [await peers.add(n) for n in ("alice", "bob", "carol")]
    nobody = JID(f"nobody@{ONION}")
    for namespace in peers.server.versions:
        del peers.server.bundles[namespace, carol.jid, carol.omemo.device_id]

    said = await say(alice, [alice, bob, carol, nobody])

    assert said.skipped == (str(carol.jid), str(nobody))
    assert await hear(bob, said.parts[0], alice.jid) == "hello all"
    with pytest.raises(NoDevicesError):
        await say(alice, [alice, carol, nobody])
    with pytest.raises(NoDevicesError, match="nothing was sent"):
        await say(alice, [alice])


async def test_one_broken_device_of_a_member_is_named_beside_the_others(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    tablet = await peers.add("bob", device="tablet")
    for namespace in peers.server.versions:
        del peers.server.bundles[namespace, bob.jid, tablet.omemo.device_id]

    said = await say(alice, [alice, bob])

    assert said.skipped == (f"{bob.jid} device {tablet.omemo.device_id}",)
    assert await hear(bob, said.parts[0], alice.jid) == "hello all"


async def test_an_undecided_device_of_a_member_stops_the_message(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice", Trust.MANUAL)
    bob, carol = await peers.add("bob"), await peers.add("carol")
    await alice.trust(bob, TrustLevel.TRUSTED)

    with pytest.raises(UndecidedDevicesError) as raised:
        await say(alice, [alice, bob, carol])

    assert raised.value.jid == carol.jid
    await alice.trust(carol, TrustLevel.DISTRUSTED)
    said = await say(alice, [alice, bob, carol])
    assert said.skipped == (str(carol.jid),)
    assert reader_ids(said.parts[0]) == {bob.omemo.device_id}


async def test_a_pinned_account_leaves_out_who_is_not_pinned(peers: OmemoPeers) -> None:
    bob, carol = await peers.add("bob"), await peers.add("carol")
    pins = {bob.jid: frozenset({bob.omemo.fingerprint})}
    alice = await peers.add("alice", Trust.PINNED, pins=pins)

    said = await say(alice, [alice, bob, carol])

    assert said.skipped == (str(carol.jid),)
    assert reader_ids(said.parts[0]) == {bob.omemo.device_id}


async def test_a_message_for_many_is_split_and_each_reads_their_part(
    peers: OmemoPeers,
) -> None:
    alice, bob, carol = [await peers.add(n) for n in ("alice", "bob", "carol")]

    whole = size((await say(alice, [alice, bob, carol])).parts[0])

    said = await say(alice, [alice, bob, carol], limit_bytes=whole - 100)

    assert len(said.parts) == 2
    for peer in (bob, carol):
        [mine] = [p for p in said.parts if peer.omemo.device_id in reader_ids(p)]
        assert await hear(peer, mine, alice.jid) == "hello all"


async def test_an_envelope_of_a_room_is_read_in_that_room_alone(
    tmp_path: Path,
) -> None:
    async with OmemoPeers(tmp_path) as peers:
        alice, bob = await peers.add("alice"), await peers.add("bob")
        [elements] = (await say(alice, [alice, bob])).parts
        assert elements[0].tag == f"{{{OMEMO_2}}}encrypted"
        to_bob = (await alice.encrypt(bob, "for you alone")).elements

        for what, room in ((elements, OTHER_ROOM), (elements, None), (to_bob, ROOM)):
            with pytest.raises(DecryptionError) as raised:
                await hear(bob, what, alice.jid, room=room)
            assert raised.value.why == "its envelope is for somebody else"
        assert await hear(bob, elements, alice.jid) == "hello all"


async def test_what_a_member_wrote_is_read_as_nobody_elses(peers: OmemoPeers) -> None:
    alice, bob, mallory = [await peers.add(n) for n in ("alice", "bob", "mallory")]
    await bob.read(await alice.encrypt(bob, "we know each other"), alice)
    [elements] = (await say(mallory, [bob, alice])).parts

    with pytest.raises(DecryptionError):
        await hear(bob, elements, alice.jid)

    assert await hear(bob, elements, mallory.jid) == "hello all"
