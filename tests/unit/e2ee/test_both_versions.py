"""Two OMEMO versions at once: who gets which, in one stanza."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.e2ee import (
    NAMESPACES,
    OMEMO_2,
    OMEMO_OLD,
    CheckNodes,
    Encrypted,
    Plain,
    Trust,
    TrustLevel,
    UploadDeviceList,
    closed_nodes,
)
from xmpp_onion.e2ee.versions import bundle_node, list_node
from xmpp_onion.errors import DecryptionError, NoDevicesError
from xmpp_onion.store import Keys
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers

REPLY = "<reply xmlns='urn:xmpp:reply:0' to='x' id='1'/>"


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[OmemoPeers]:
    async with OmemoPeers(tmp_path) as peers:
        yield peers


def only_old(peers: OmemoPeers, peer: OmemoPeer) -> None:
    """Let one device look as if it spoke the old version alone."""
    listed = peers.server.ids(peer.jid, OMEMO_2)
    ids = [number for number in listed if number != peer.omemo.device_id]
    peers.server.push(peer.jid, ids, [OMEMO_2])


def namespaces(sent: Encrypted) -> list[str]:
    return [element.tag.removesuffix("}encrypted")[1:] for element in sent.elements]


def keys(element: ET.Element) -> set[str]:
    return {key.get("rid", "") for key in element.iter() if key.get("rid")}


async def send(peer: OmemoPeer, to: OmemoPeer, plain: Plain) -> Encrypted:
    await peer.omemo.fetch([to.jid])
    async with peer.database.transaction():
        return await peer.omemo.encrypt(to.jid, plain)


# --- sending ------------------------------------------------------------------------


async def test_each_device_gets_the_newest_version_that_it_speaks(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice", Trust.BTBV)
    phone, laptop = await peers.add("bob"), await peers.add("bob", device="laptop")
    only_old(peers, laptop)

    sent = await alice.encrypt(phone, "hello")

    assert namespaces(sent) == [OMEMO_2, OMEMO_OLD]
    assert sent.devices == 2
    assert keys(sent.elements[0]) == {str(phone.omemo.device_id)}
    assert keys(sent.elements[1]) == {str(laptop.omemo.device_id)}
    for device, namespace in ((phone, OMEMO_2), (laptop, OMEMO_OLD)):
        got = await device.decrypt(sent, alice.jid)
        assert (got.plain, got.namespace) == (Plain("hello"), namespace)
        assert got.device.fingerprint == alice.omemo.fingerprint


async def test_what_stands_beside_the_text_is_for_the_newer_version_only(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice", Trust.BTBV)
    phone, laptop = await peers.add("bob"), await peers.add("bob", device="laptop")
    only_old(peers, laptop)
    reply = ET.fromstring(REPLY)  # noqa: S314 - the test's own text

    sent = await send(alice, phone, Plain("hello", (reply,)))

    new = (await phone.decrypt(sent, alice.jid)).plain
    old = (await laptop.decrypt(sent, alice.jid)).plain
    assert new is not None
    assert [(one.tag, one.attrib) for one in new.payload] == [(reply.tag, reply.attrib)]
    assert old == Plain("hello")


async def test_without_a_text_the_older_version_is_left_out(peers: OmemoPeers) -> None:
    alice = await peers.add("alice", Trust.BTBV)
    phone, laptop = await peers.add("bob"), await peers.add("bob", device="laptop")
    only_old(peers, laptop)
    reply = ET.fromstring(REPLY)  # noqa: S314 - the test's own text

    sent = await send(alice, phone, Plain(None, (reply,)))

    assert namespaces(sent) == [OMEMO_2]
    assert sent.skipped == (laptop.omemo.fingerprint,)
    carol = await peers.add("carol")
    only_old(peers, carol)
    with pytest.raises(NoDevicesError, match="carries only texts"):
        await send(alice, carol, Plain(None, (reply,)))


async def test_a_device_without_its_newest_bundle_gets_the_older_version(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    del peers.server.bundles[OMEMO_2, bob.jid, bob.omemo.device_id]

    sent = await alice.encrypt(bob, "hello")

    assert namespaces(sent) == [OMEMO_OLD]
    assert await bob.read(sent, alice) == "hello"


async def test_a_device_that_learns_the_newer_version_gets_it(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    only_old(peers, bob)
    await alice.meet(bob)

    peers.server.push(bob.jid, [bob.omemo.device_id])
    await alice.omemo.prepare(alice.database)  # as after a login
    sent = await alice.encrypt(bob, "hello")

    assert namespaces(sent) == [OMEMO_2]
    got = await bob.decrypt(sent, alice.jid)
    assert got.plain == Plain("hello")
    assert len(await bob.devices(alice)) == 1


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_server_that_hides_the_newer_version_gets_no_older_one(
    peers: OmemoPeers, *, is_restarted: bool
) -> None:
    alice, bob = peers.new("alice"), await peers.add("bob")
    async with alice:
        await alice.meet(bob)
        only_old(peers, bob)
        if not is_restarted:
            sent = await alice.encrypt(bob, "hello")
    if is_restarted:
        async with alice:
            sent = await alice.encrypt(bob, "hello")

    assert namespaces(sent) == [OMEMO_2]
    assert await bob.read(sent, alice) == "hello"


async def test_a_device_without_a_way_to_its_newest_version_is_left_out(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    only_old(peers, bob)
    del peers.server.bundles[OMEMO_2, bob.jid, bob.omemo.device_id]
    async with alice.database.transaction():
        await alice.omemo.retire_sessions()  # as after a roll-back

    with pytest.raises(NoDevicesError):
        await alice.encrypt(bob, "hello")


async def test_ten_new_contacts_with_two_versions_cost_two_flights(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice")
    contacts = [await peers.add(f"contact{number}") for number in range(10)]
    for contact in contacts[::2]:
        only_old(peers, contact)
    before, requests = alice.pep.flights, len(alice.pep.requests)

    await alice.omemo.fetch([contact.jid for contact in contacts])

    assert alice.pep.flights - before == 2
    assert len(alice.pep.requests) - requests == 10 * 3


# --- receiving ----------------------------------------------------------------------


async def test_of_two_elements_the_newest_for_us_is_read(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    only_old(peers, bob)
    old = await alice.encrypt(bob, "old")
    peers.server.push(bob.jid, [bob.omemo.device_id])
    await alice.omemo.prepare(alice.database)  # as after a login
    new = await alice.encrypt(bob, "new")
    both = Encrypted((*old.elements, *new.elements), 1, ())

    assert await bob.read(both, alice) == "new"
    assert await bob.read(old, alice) == "old"


async def test_an_answer_without_text_is_of_the_same_version(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    await bob.read(await alice.encrypt(bob, "hello"), alice)
    (empty,) = bob.take_empties()

    assert empty.tag == f"{{{OMEMO_2}}}encrypted"
    assert empty.find(f"{{{OMEMO_2}}}payload") is None
    assert (await alice.decrypt(empty, bob.jid)).plain is None


async def test_a_message_for_another_conversation_is_refused(
    peers: OmemoPeers,
) -> None:
    phone, bob = await peers.add("alice"), await peers.add("bob")
    laptop = await peers.add("alice", device="laptop")
    await phone.trust(laptop, TrustLevel.TRUSTED)
    sent = await phone.encrypt(bob, "for bob")

    with pytest.raises(DecryptionError, match="for somebody else"):
        await laptop.read(sent, phone)

    assert await laptop.read(sent, phone, to=bob) == "for bob"


# --- what is published --------------------------------------------------------------


async def test_an_account_of_before_announces_the_newer_version_as_well(
    peers: OmemoPeers,
) -> None:
    async with peers.new("alice") as alice:
        device_id = alice.omemo.device_id
        async with alice.database.transaction():
            # What a store of before looks like: it never published the newer one.
            await alice.omemo._storage.delete(f"/xmpp-onion/published/{OMEMO_2}")
    del peers.server.lists[OMEMO_2, alice.jid]
    del peers.server.bundles[OMEMO_2, alice.jid, device_id]

    async with peers.new("alice") as alice:
        before = [r for r in alice.pep.requests if OMEMO_OLD in r and "publish" in r]

    assert before == []
    assert peers.server.ids(alice.jid, OMEMO_2) == (device_id,)
    assert (OMEMO_2, alice.jid, device_id) in peers.server.bundles


async def test_a_label_is_published_signed_and_read(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    async with alice.database.transaction():
        await alice.omemo.set_label("a phone")
        alice.effects += alice.omemo.take_effects()
    assert UploadDeviceList(OMEMO_2) in alice.effects
    await alice.do_jobs()

    (device,) = await bob.devices(alice)
    assert device.label == "a phone"
    assert device.namespaces == NAMESPACES


async def test_a_label_that_came_before_the_key_that_signed_it_is_read(
    peers: OmemoPeers,
) -> None:
    laptop = await peers.add("alice", device="laptop")
    async with laptop.database.transaction():
        await laptop.omemo.set_label("a laptop")
        laptop.effects += laptop.omemo.take_effects()
    await laptop.do_jobs()

    phone = await peers.add("alice")  # reads its own account's list, and no bundle
    async with phone.database.transaction():
        known = await phone.omemo.keyring.devices(phone.jid)

    labels = {d.device_id: d.label for d in await phone.devices(laptop)}
    assert laptop.omemo.device_id not in {device.device_id for device in known}
    assert labels[laptop.omemo.device_id] == "a laptop"


async def test_a_label_that_its_device_did_not_sign_is_not_shown(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    async with alice.database.transaction():
        await alice.omemo.set_label("a phone")
        alice.effects += alice.omemo.take_effects()
    await alice.do_jobs()
    listed = peers.server.lists[OMEMO_2, alice.jid]
    ((number, label),) = listed.items()
    assert label is not None

    peers.server.put(alice.jid, {number: label._replace(label="the police")}, [OMEMO_2])

    (device,) = await bob.devices(alice)
    assert device.label is None


async def test_a_device_that_is_removed_while_our_list_is_published_stays_away(
    peers: OmemoPeers,
) -> None:
    alice, laptop = await peers.add("alice"), await peers.add("alice", device="laptop")
    both = dict.fromkeys((alice.omemo.device_id, laptop.omemo.device_id))
    for turns in range(20):
        peers.server.push(alice.jid, both)
        async with alice.database.transaction():
            await alice.omemo.set_label(f"phone {turns}")
            alice.omemo.take_effects()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(alice.omemo.perform(UploadDeviceList.kind, OMEMO_2))
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks.create_task(alice.omemo.remove_device(laptop.omemo.device_id))

        (left,) = peers.server.lists[OMEMO_2, alice.jid].items()
        assert left[0] == alice.omemo.device_id
        assert left[1] is not None
        assert left[1].label == f"phone {turns}"


async def test_our_nodes_are_checked_once_and_what_stays_closed_is_known(
    peers: OmemoPeers,
) -> None:
    node, _ = list_node(OMEMO_OLD)
    peers.server.keeps_closed.add(node)
    async with peers.new("alice") as alice:
        alice.effects += alice.omemo.take_effects()
        checks = [CheckNodes(f"{OMEMO_2} {OMEMO_OLD}")]
        assert [e for e in alice.effects if isinstance(e, CheckNodes)] == checks
        before = alice.pep.flights
        await alice.do_jobs()
        assert alice.pep.flights - before == 1
        opened = [r for r in alice.pep.requests if r.startswith("open")]
        assert await closed_nodes(Keys(alice.database)) == (node,)
        number = alice.omemo.device_id

    async with peers.new("alice") as alice:
        assert alice.omemo.take_effects() == []
    assert opened == [
        f"open {name}"
        for namespace in NAMESPACES
        for name, _ in (list_node(namespace), bundle_node(namespace, number))
    ]


async def test_a_check_that_fails_is_done_again(peers: OmemoPeers) -> None:
    async with peers.new("alice"):
        pass  # the check was never done

    async with peers.new("alice") as alice:
        assert alice.omemo.take_effects() == [CheckNodes(f"{OMEMO_2} {OMEMO_OLD}")]


async def test_whoever_hides_its_devices_is_told_apart_before_anything_is_sent(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    peers.server.hidden.add(bob.jid)

    with pytest.raises(NoDevicesError, match="to contacts only") as caught:
        await alice.encrypt(bob, "hello")

    assert caught.value.fix.startswith(f"xmpp-onion contact add {bob.jid}")
