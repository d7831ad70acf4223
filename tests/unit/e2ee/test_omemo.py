"""Encrypt and decrypt with real keys, a real store, and a server in memory."""

import asyncio
import base64
import contextlib
import copy
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from xml.etree import ElementTree as ET

import pytest
from oldmemo import oldmemo
from omemo.session_manager import SessionManager
from twomemo import twomemo

from xmpp_onion.address import JID
from xmpp_onion.e2ee import (
    NAMESPACES,
    OMEMO_2,
    OMEMO_OLD,
    Plain,
    SendEmpty,
    Trust,
    TrustLevel,
    UploadBundle,
    UploadDeviceList,
    quiet_libraries,
)
from xmpp_onion.e2ee.publisher import Publisher
from xmpp_onion.errors import (
    DecryptionError,
    DeviceListError,
    EncryptionError,
    NoDevicesError,
    UndecidedDevicesError,
)
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers


class StopError(Exception):
    """What a test raises to roll a transaction back."""


@contextlib.asynccontextmanager
async def undone(peer: OmemoPeer) -> AsyncIterator[None]:
    """A transaction that fails when all its work is done."""
    with contextlib.suppress(StopError):
        async with peer.database.transaction():
            yield
            raise StopError


# --- the way of a message -----------------------------------------------------------


async def test_a_message_is_read_by_the_other_side(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    sent = await alice.encrypt(bob, "grüß dich 🧅")
    got = await bob.decrypt(sent, alice.jid)

    assert got.plain == Plain("grüß dich 🧅")
    assert got.namespace == peers.newest
    assert got.device.fingerprint == alice.omemo.fingerprint
    assert sent.devices == 1
    assert sent.skipped == ()


async def test_both_directions_work_in_one_session(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    await alice.meet(bob)

    for number in range(3):
        there = await bob.read(await alice.encrypt(bob, f"to {number}"), alice)
        back = await alice.read(await bob.encrypt(alice, f"fro {number}"), bob)
        assert (there, back) == (f"to {number}", f"fro {number}")


async def test_all_devices_of_the_recipient_read_it(peers: OmemoPeers) -> None:
    alice = await peers.add("alice")
    phone, laptop = await peers.add("bob"), await peers.add("bob", device="laptop")

    sent = await alice.encrypt(phone, "hello")

    assert sent.devices == 2
    assert await phone.read(sent, alice) == "hello"
    assert await laptop.read(sent, alice) == "hello"


async def test_two_hundred_messages_at_once_are_read_exactly_once(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    read: Counter[str] = Counter()

    async def send(sender: OmemoPeer, to: OmemoPeer, text: str) -> None:
        read[await to.read(await sender.encrypt(to, text), sender)] += 1

    await asyncio.gather(
        *(send(alice, bob, f"to {number}") for number in range(100)),
        *(send(bob, alice, f"fro {number}") for number in range(100)),
    )

    assert len(read) == 200
    assert set(read.values()) == {1}


async def test_two_who_write_first_at_the_same_moment_understand_each_other(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    to_bob = [await alice.encrypt(bob, f"first {number}") for number in range(3)]
    to_alice = [await bob.encrypt(alice, f"first {number}") for number in range(3)]
    crossed = [
        (await bob.read(to_bob[0], alice), await alice.read(to_alice[0], bob)),
    ]
    # Each has taken the other's session in place of its own.
    to_bob.append(await alice.encrypt(bob, "first 3"))
    to_alice.append(await bob.encrypt(alice, "first 3"))
    crossed += [
        (await bob.read(to_bob[number], alice), await alice.read(to_alice[number], bob))
        for number in (3, 1, 2)
    ]

    assert crossed == [(f"first {number}",) * 2 for number in (0, 3, 1, 2)]
    for number in range(5):
        sent = await alice.encrypt(bob, str(number))
        assert await bob.read(sent, alice) == str(number)
        with pytest.raises(DecryptionError):
            await bob.read(sent, alice)
        assert await alice.read(await bob.encrypt(alice, "yes"), bob) == "yes"


async def test_messages_may_arrive_in_any_order(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    sent = [await alice.encrypt(bob, str(number)) for number in range(5)]

    read = [await bob.read(sent[number], alice) for number in (4, 0, 2, 1, 3)]

    assert read == ["4", "0", "2", "1", "3"]


async def test_a_duplicate_is_refused_as_one(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    sent = await alice.encrypt(bob, "once")
    await bob.read(sent, alice)

    with pytest.raises(DecryptionError, match="duplicate"):
        await bob.read(sent, alice)
    assert await bob.read(await alice.encrypt(bob, "more"), alice) == "more"


# --- what is kept -------------------------------------------------------------------


async def test_a_restart_keeps_identity_and_sessions(peers: OmemoPeers) -> None:
    bob = await peers.add("bob")
    async with peers.new("alice") as alice:
        await alice.meet(bob)
        before = alice.omemo.fingerprint, alice.omemo.device_id

    async with peers.new("alice") as alice:
        assert (alice.omemo.fingerprint, alice.omemo.device_id) == before
        assert await bob.read(await alice.encrypt(bob, "back"), alice) == "back"
        assert await alice.read(await bob.encrypt(alice, "good"), bob) == "good"
        assert not any(request.startswith("bundle") for request in alice.pep.requests)


async def test_a_decryption_that_is_rolled_back_can_be_done_again(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    first, second = [await alice.encrypt(bob, text) for text in ("one", "two")]

    for sent, text in ((first, "one"), (second, "two")):
        async with undone(bob):
            assert (await bob.omemo.decrypt(sent.elements, alice.jid)).plain

        assert await bob.read(sent, alice) == text


async def test_a_first_decryption_that_is_rolled_back_can_be_done_again(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    sent = await alice.encrypt(bob, "hello")
    await bob.omemo.fetch_sender(sent.elements, alice.jid)

    async with undone(bob):
        await bob.omemo.decrypt(sent.elements, alice.jid)

    assert bob.omemo.take_effects() == []
    assert await bob.read(sent, alice) == "hello"
    assert UploadBundle(peers.newest) in bob.effects


async def test_a_bundle_that_was_missing_is_asked_for_when_a_message_needs_it(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    bundles = dict(peers.server.bundles)
    for place in bundles:
        if place[1] == alice.jid:  # her list is published, her bundles are not yet
            del peers.server.bundles[place]
    with pytest.raises(EncryptionError):
        await bob.encrypt(alice, "too early")
    peers.server.bundles.update(bundles)
    bob.now += 61

    sent = await alice.encrypt(bob, "here I am")

    assert await bob.read(sent, alice) == "here I am"


async def test_an_encryption_that_is_rolled_back_reuses_no_key(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.omemo.fetch([bob.jid])

    async with undone(alice):
        lost = await alice.omemo.encrypt(bob.jid, Plain("lost"))

    sent = await alice.encrypt(bob, "sent")
    assert await bob.read(sent, alice) == "sent"
    assert ET.tostring(sent.elements[0]) != ET.tostring(lost.elements[0])
    assert await alice.read(await bob.encrypt(alice, "fine"), bob) == "fine"


async def test_a_preparation_that_fails_is_done_again(peers: OmemoPeers) -> None:
    alice, bob = peers.new("alice"), await peers.add("bob")
    await alice.open()
    alice.pep.failures = 3

    with pytest.raises(DeviceListError):
        await alice.omemo.prepare(alice.database)
    with pytest.raises(DeviceListError):
        await alice.omemo.prepare(alice.database)
    await alice.omemo.prepare(alice.database)

    assert await alice.read(await bob.encrypt(alice, "found you"), bob) == "found you"
    await alice.__aexit__(None, None, None)


async def test_who_is_cancelled_while_the_library_ends_its_task_is_cancelled(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = peers.new("alice")
    await alice.open()
    shutdown = SessionManager.shutdown

    async def cancelled(manager: SessionManager) -> None:
        asyncio.get_running_loop().call_soon(preparing.cancel)
        await shutdown(manager)

    monkeypatch.setattr(SessionManager, "shutdown", cancelled)
    async with asyncio.TaskGroup() as tasks:
        preparing = tasks.create_task(alice.omemo.prepare(alice.database))
    assert preparing.cancelled()

    monkeypatch.undo()
    await alice.omemo.prepare(alice.database)
    await alice.__aexit__(None, None, None)


# --- what it wants from the network -------------------------------------------------


async def test_a_failing_upload_does_not_lose_the_message_behind_it(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    old = peers.server.bundles[peers.place(bob)]
    sent = await alice.encrypt(bob, "kept")

    assert await bob.read(sent, alice) == "kept"
    bob.pep.failures = 1
    with pytest.raises(DeviceListError):
        await bob.omemo.perform(UploadBundle.kind, peers.newest)
    await bob.do_jobs()

    assert peers.server.bundles[peers.place(bob)] != old


async def test_a_changed_bundle_is_not_forgotten_by_a_restart(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice")
    async with peers.new("bob") as bob:
        await bob.read(await alice.encrypt(bob, "hello"), alice)
        assert UploadBundle(peers.newest) in bob.effects  # and is lost with the process

    async with peers.new("bob") as bob:
        assert UploadBundle(peers.newest) in bob.omemo.take_effects()
        await bob.omemo.perform(UploadBundle.kind, peers.newest)

    async with peers.new("bob") as bob:
        assert UploadBundle(peers.newest) not in bob.omemo.take_effects()


async def test_the_first_message_is_answered_so_that_the_session_is_complete(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    await bob.read(await alice.encrypt(bob, "hello"), alice)
    (empty,) = bob.take_empties()

    assert (await alice.decrypt(empty, bob.jid)).plain is None
    keys = (await alice.encrypt(bob, "again")).elements[0].iter()
    assert not any(key.get("prekey") or key.get("kex") for key in keys)


async def test_a_burst_is_answered_a_few_times_only(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    for number in range(120):
        await bob.read(await alice.encrypt(bob, str(number)), alice)

    assert len(bob.take_empties()) == 3


@pytest.mark.parametrize("arrive", [True, False])
async def test_who_is_only_read_is_answered_a_few_times_only(
    peers: OmemoPeers,
    arrive: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    empties = 0

    for number in range(200):
        await bob.read(await alice.encrypt(bob, str(number)), alice)
        for empty in bob.take_empties():
            empties += 1
            if arrive:
                await alice.decrypt(empty, bob.jid)

    assert 0 < empties <= 5


async def test_a_device_that_is_not_accepted_gets_no_answer(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob", Trust.MANUAL)

    got = await bob.decrypt(await alice.encrypt(bob, "hello"), alice.jid)

    assert got.device.trust is TrustLevel.UNDECIDED
    assert bob.take_empties() == []


async def test_an_unknown_job_is_refused(peers: OmemoPeers) -> None:
    alice = await peers.add("alice")

    with pytest.raises(ValueError, match="unknown kind"):
        await alice.omemo.perform("make-tea", "")


async def test_both_versions_are_published(peers: OmemoPeers) -> None:
    alice = await peers.add("alice")

    assert peers.server.nodes == {
        "urn:xmpp:omemo:2:devices",
        "urn:xmpp:omemo:2:bundles",
        "eu.siacs.conversations.axolotl.devicelist",
        f"eu.siacs.conversations.axolotl.bundles:{alice.omemo.device_id}",
    }


async def test_an_effect_shows_no_ciphertext_in_its_repr(peers: OmemoPeers) -> None:
    bob = await peers.add("bob")

    assert "secret" not in repr(SendEmpty(bob.jid, "secret"))


# --- flights ------------------------------------------------------------------------


async def test_ten_new_contacts_cost_two_flights_and_later_messages_none(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice")
    contacts = [await peers.add(f"contact{number}") for number in range(10)]
    jids = [contact.jid for contact in contacts]
    before = alice.pep.flights

    await alice.omemo.fetch(jids)
    assert alice.pep.flights - before <= 2
    async with alice.database.transaction():
        for jid in jids:
            await alice.omemo.encrypt(jid, Plain("hello"))

    requests = len(alice.pep.requests)
    await alice.omemo.fetch(jids)
    assert len(alice.pep.requests) == requests


async def test_the_first_login_costs_two_flights(peers: OmemoPeers) -> None:
    alice = await peers.add("alice")

    assert alice.pep.flights == 2


async def test_a_known_sender_costs_no_request(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    requests = len(bob.pep.requests)

    await bob.read(await alice.encrypt(bob, "again"), alice)

    assert len(bob.pep.requests) == requests


async def test_a_list_that_is_not_watched_is_fetched_for_each_message(
    peers: OmemoPeers,
) -> None:
    peers.server.can_watch = False
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.encrypt(bob, "one")
    before = Counter(alice.pep.requests)

    await alice.encrypt(bob, "two")

    assert Counter(alice.pep.requests) - before == {
        f"list {one} {bob.jid}": 1 for one in peers.server.versions
    }


async def test_a_sender_whose_server_is_silent_is_asked_again(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    sent = await alice.encrypt(bob, "patience")
    bob.pep.failures = 1

    with pytest.raises(DeviceListError):
        await bob.read(sent, alice)

    assert await bob.read(sent, alice) == "patience"


# --- device lists -------------------------------------------------------------------


async def test_a_new_device_gets_the_next_message(peers: OmemoPeers) -> None:
    alice, phone = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    await alice.encrypt(phone, "one")

    laptop = await peers.add("bob", device="laptop")
    sent = await alice.encrypt(phone, "two")

    assert await laptop.read(sent, alice) == "two"


async def test_a_sender_that_is_not_listed_yet_is_looked_up_again(
    peers: OmemoPeers,
) -> None:
    alice, phone = await peers.add("alice"), await peers.add("bob")
    await alice.meet(phone)
    watchers, peers.server.watchers = peers.server.watchers, []  # pushes are lost
    laptop = await peers.add("bob", device="laptop")
    peers.server.watchers = watchers

    assert await alice.read(await laptop.encrypt(alice, "new here"), laptop)


async def test_a_device_that_is_not_listed_any_more_gets_nothing(
    peers: OmemoPeers,
) -> None:
    alice, phone = await peers.add("alice"), await peers.add("bob")
    await peers.add("bob", device="laptop")
    await alice.encrypt(phone, "one")

    peers.server.push(phone.jid, [phone.omemo.device_id])

    assert (await alice.encrypt(phone, "two")).devices == 1


async def test_our_device_is_put_back_and_no_other_is_lost(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    peers.server.push(alice.jid, [4711])

    await alice.encrypt(bob, "hello")
    assert UploadDeviceList(peers.newest) in alice.effects
    await alice.do_jobs()

    assert peers.server.ids(alice.jid, peers.newest) == (
        4711,
        alice.omemo.device_id,
    )


async def test_another_client_that_keeps_removing_us_wins_after_three_times(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    alice.now += 3601
    uploads = 0
    for number in range(6):
        peers.server.push(alice.jid, [4711 + number])
        await alice.encrypt(bob, "hello")
        uploads += alice.effects.count(UploadDeviceList(peers.newest))
        await alice.do_jobs()

    assert uploads == 3


async def test_a_login_later_puts_back_what_the_server_lost(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    del peers.server.lists[peers.newest, alice.jid]
    del peers.server.bundles[peers.place(alice)]

    await alice.omemo.prepare(alice.database)
    alice.effects += alice.omemo.take_effects()
    await alice.do_jobs()

    assert await alice.read(await bob.encrypt(alice, "there"), bob) == "there"


async def test_a_thousand_listed_devices_cost_a_bounded_number_of_requests(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.encrypt(bob, "known before")
    peers.server.push(bob.jid, [*range(1, 1000), bob.omemo.device_id])
    before = len(alice.pep.requests)

    sent = await alice.encrypt(bob, "one")
    fetched = len(alice.pep.requests) - before
    await alice.encrypt(bob, "two")

    assert 0 < fetched <= 40
    assert len(alice.pep.requests) - before == fetched
    assert await bob.read(sent, alice) == "one"
    assert "device 1" in sent.skipped


async def test_changing_lists_cannot_make_us_fetch_without_end(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.encrypt(bob, "known before")

    for start in range(1, 2000, 30):
        peers.server.push(bob.jid, [*range(start, start + 30), bob.omemo.device_id])
        await alice.encrypt(bob, "again")

    bundles = [r for r in alice.pep.requests if f"bundle {peers.newest} {bob.jid}" in r]
    assert len(bundles) <= 40


async def test_a_missing_bundle_is_asked_for_again_later(peers: OmemoPeers) -> None:
    alice, phone = await peers.add("alice"), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    bundles = dict(peers.server.bundles)
    for namespace in NAMESPACES:
        del peers.server.bundles[namespace, laptop.jid, laptop.omemo.device_id]
    sent = await alice.encrypt(phone, "one")
    assert sent.skipped == (f"device {laptop.omemo.device_id}",)
    peers.server.bundles.update(bundles)

    assert (await alice.encrypt(phone, "too early")).devices == 1
    alice.now += 600
    assert (await alice.encrypt(phone, "two")).devices == 2


@pytest.mark.parametrize("ids", [[0], [-5], [2**31], [2**40]])
async def test_numbers_that_are_no_device_ids_are_left_out(
    peers: OmemoPeers, ids: list[int]
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    peers.server.push(bob.jid, [*ids, bob.omemo.device_id, bob.omemo.device_id])

    sent = await alice.encrypt(bob, "hello")

    assert (sent.devices, sent.skipped) == (1, ())


# --- nobody to send to --------------------------------------------------------------


async def test_a_recipient_without_devices_is_told_apart_from_a_silent_server(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")
    alice.pep.failures = 1

    with pytest.raises(DeviceListError, match="could not be fetched"):
        await alice.encrypt(bob, "hello")
    with pytest.raises(NoDevicesError, match="log in once") as caught:
        await alice.encrypt(bob, "hello")
    assert caught.value.jid == bob.jid
    # Profanity, for one, shows its devices to contacts only.
    assert f"contact add {bob.jid}" in str(caught.value)


async def test_what_may_be_a_room_is_said_to_want_joining(peers: OmemoPeers) -> None:
    alice = await peers.add("alice")
    room = JID(f"friends@muc.{alice.jid.domain}")

    await alice.omemo.fetch([room])
    async with alice.database.transaction():
        with pytest.raises(NoDevicesError, match=f"room join {room}"):
            await alice.omemo.encrypt(room, Plain("hello"))


async def test_a_sender_whose_devices_we_may_not_see_cannot_be_read(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    sent = await alice.encrypt(bob, "hello")
    peers.server.lists.clear()

    with pytest.raises(DecryptionError, match="for contacts only") as caught:
        await bob.decrypt(sent, alice.jid)
    assert f"contact add {alice.jid}" in str(caught.value)


async def test_a_recipient_without_usable_bundles_has_no_devices(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    peers.server.bundles.clear()

    with pytest.raises(NoDevicesError, match="usable bundle"):
        await alice.encrypt(bob, "hello")


async def test_an_old_list_serves_while_the_server_is_silent(
    peers: OmemoPeers,
) -> None:
    bob = await peers.add("bob")
    async with peers.new("alice") as alice:
        await alice.meet(bob)

    async with peers.new("alice") as alice:
        alice.pep.failures = 1
        assert await bob.read(await alice.encrypt(bob, "still"), alice) == "still"


# --- trust --------------------------------------------------------------------------


async def test_nothing_is_sent_when_a_device_is_undecided(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice", Trust.MANUAL), await peers.add("bob")

    with pytest.raises(UndecidedDevicesError) as caught:
        await alice.encrypt(bob, "hello")
    assert caught.value.fingerprints == (bob.omemo.fingerprint,)
    assert f"trust verify {bob.jid} {bob.omemo.fingerprint}" in caught.value.fix

    await alice.trust(bob, TrustLevel.TRUSTED)
    assert await bob.read(await alice.encrypt(bob, "hello"), alice) == "hello"


async def test_tofu_trusts_all_devices_of_the_first_list_and_asks_about_later_ones(
    peers: OmemoPeers,
) -> None:
    alice, phone = await peers.add("alice"), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    await alice.read(await phone.encrypt(alice, "from one of two"), phone)

    assert (await alice.encrypt(phone, "to both")).devices == 2

    later = await peers.add("bob", device="tablet")
    with pytest.raises(UndecidedDevicesError) as caught:
        await alice.encrypt(phone, "to three")
    assert caught.value.fingerprints == (later.omemo.fingerprint,)
    got = await alice.decrypt(await laptop.encrypt(alice, "hi"), laptop.jid)
    assert got.device.trust is TrustLevel.BLINDLY_TRUSTED


async def test_btbv_trusts_later_devices_until_one_is_verified(
    peers: OmemoPeers,
) -> None:
    alice, phone = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    await alice.encrypt(phone, "one")
    await peers.add("bob", device="laptop")
    assert (await alice.encrypt(phone, "two")).devices == 2

    await alice.trust(phone, TrustLevel.TRUSTED)
    tablet = await peers.add("bob", device="tablet")

    with pytest.raises(UndecidedDevicesError) as caught:
        await alice.encrypt(phone, "three")
    assert caught.value.fingerprints == (tablet.omemo.fingerprint,)


async def test_pinned_sends_to_pinned_devices_only(peers: OmemoPeers) -> None:
    phone = await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    pins = {phone.jid: frozenset({phone.omemo.fingerprint})}
    alice = await peers.add("alice", Trust.PINNED, pins=pins)

    sent = await alice.encrypt(phone, "for the pinned one")

    assert sent.devices == 1
    assert sent.skipped == (laptop.omemo.fingerprint,)
    assert await phone.read(sent, alice) == "for the pinned one"
    with pytest.raises(DecryptionError, match="not encrypted for this device"):
        await laptop.read(sent, alice)


async def test_pinned_sends_nothing_while_no_device_is_pinned(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.PINNED), await peers.add("bob")

    with pytest.raises(UndecidedDevicesError, match="trust verify") as caught:
        await alice.encrypt(bob, "hello")
    assert caught.value.fingerprints == (bob.omemo.fingerprint,)

    await alice.trust(bob, TrustLevel.TRUSTED)
    assert (await alice.encrypt(bob, "hello")).devices == 1


async def test_a_message_of_a_device_that_is_not_pinned_is_read_and_marked(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.PINNED), await peers.add("bob")

    got = await alice.decrypt(await bob.encrypt(alice, "let me in"), bob.jid)

    assert got.device.trust is TrustLevel.DISTRUSTED
    assert alice.take_empties() == []


async def test_a_message_of_a_distrusted_device_is_not_read(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    await alice.trust(bob, TrustLevel.DISTRUSTED)

    with pytest.raises(DecryptionError, match="distrusted"):
        await alice.read(await bob.encrypt(alice, "hello"), bob)
    with pytest.raises(NoDevicesError, match="distrusted"):
        await alice.encrypt(bob, "hello")


async def test_our_own_other_device_is_left_out_until_it_is_confirmed(
    peers: OmemoPeers,
) -> None:
    phone, bob = await peers.add("alice"), await peers.add("bob")
    laptop = await peers.add("alice", device="laptop")

    sent = await phone.encrypt(bob, "hello")
    assert (sent.devices, sent.skipped) == (1, (laptop.omemo.fingerprint,))

    await phone.trust(laptop, TrustLevel.TRUSTED)
    sent = await phone.encrypt(bob, "hello again")
    assert (sent.devices, sent.skipped) == (2, ())
    assert await laptop.read(sent, phone, to=bob) == "hello again"


async def test_before_prepare_there_is_no_identity(peers: OmemoPeers) -> None:
    alice = peers.new("alice")
    await alice.open()

    with pytest.raises(RuntimeError, match="prepare"):
        _ = alice.omemo.fingerprint
    await alice.__aexit__(None, None, None)


async def test_an_account_whose_own_key_is_pinned_elsewhere_says_so(
    peers: OmemoPeers,
) -> None:
    async with peers.new("alice") as alice:
        pins = {peers.new("bob").jid: frozenset({alice.omemo.fingerprint})}

    with pytest.raises(EncryptionError, match="pinned for another JID"):
        await peers.add("alice", pins=pins)


# --- this device --------------------------------------------------------------------


async def test_the_identity_key_has_a_clear_sign_bit(peers: OmemoPeers) -> None:
    for name in ("alice", "bob", "carol", "dave", "erin", "frank"):
        peer = await peers.add(name)
        bundle = peers.server.bundles[peers.place(peer)]
        assert not bundle.identity_key[31] & 0x80


async def test_the_signed_pre_key_is_replaced_in_time_and_the_old_one_still_serves(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    old = peers.server.bundles[peers.place(bob)]
    sent = await alice.encrypt(bob, "to the old key")

    eight_days = time.time() + 8 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: eight_days)
    bob.now += 3601
    await bob.devices(alice)
    bob.effects += bob.omemo.take_effects()
    await bob.do_jobs()

    new = peers.server.bundles[peers.place(bob)]
    assert isinstance(old, oldmemo.BundleImpl | twomemo.BundleImpl)
    assert isinstance(new, oldmemo.BundleImpl | twomemo.BundleImpl)
    assert old.signed_pre_key_id != new.signed_pre_key_id
    assert await bob.read(sent, alice) == "to the old key"


async def test_a_device_whose_making_was_rolled_back_stays_one_device(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of the first attempt are on no disk, so they must be nowhere else."""
    bob = await peers.add("bob")
    alice = peers.new("alice")
    await alice.open()
    with monkeypatch.context() as context:
        context.setattr(Publisher, "missing", _stop)
        with pytest.raises(StopError):
            await alice.omemo.prepare(alice.database)
    await alice.omemo.prepare(alice.database)
    made = alice.omemo.device_id, alice.omemo.fingerprint
    sent = await bob.encrypt(alice, "to the second attempt")
    await alice.__aexit__(None, None, None)

    async with peers.new("alice") as alice:
        assert (alice.omemo.device_id, alice.omemo.fingerprint) == made
        assert await alice.read(sent, bob) == "to the second attempt"


async def _stop(_publisher: Publisher) -> None:
    raise StopError


async def test_a_replacement_of_the_signed_pre_key_that_is_rolled_back_is_repeated(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    eight_days = time.time() + 8 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: eight_days)
    bob.now += 3601
    await bob.omemo.fetch([alice.jid])
    async with undone(bob):
        await bob.omemo.keyring.devices(alice.jid)
    offered = peers.server.bundles[peers.place(bob)]

    await bob.devices(alice)  # not an hour later, when it would be looked at again
    bob.effects += bob.omemo.take_effects()
    await bob.do_jobs()

    assert peers.server.bundles[peers.place(bob)] != offered
    assert await bob.read(await alice.encrypt(bob, "to the new key"), alice)


def test_the_libraries_do_not_log_what_they_decrypt() -> None:
    quiet_libraries()

    for name in ("omemo.core", "oldmemo", "twomemo", "doubleratchet", "x3dh"):
        assert not logging.getLogger(name).isEnabledFor(logging.WARNING)


async def test_nothing_that_is_secret_is_logged(
    peers: OmemoPeers, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    alice, bob = await peers.add("alice"), await peers.add("bob")
    peers.server.push(bob.jid, [bob.omemo.device_id, 4711])

    await alice.meet(bob)
    await bob.read(await alice.encrypt(bob, "CANARY"), alice)
    with pytest.raises(DecryptionError):
        await alice.decrypt(ET.Element(f"{{{OMEMO_OLD}}}encrypted"), bob.jid)

    for secret in ("CANARY", alice.jid, bob.jid, alice.omemo.fingerprint):
        assert secret not in caplog.text


async def test_a_device_list_is_asked_for_once_however_many_wait(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    await asyncio.gather(*(alice.omemo.fetch([bob.jid]) for _ in range(50)))

    asked = [request for request in alice.pep.requests if bob.jid in request]
    assert len(asked) == 3


# --- what an element may not be -----------------------------------------------------


async def test_a_message_without_a_key_for_us_is_refused(peers: OmemoPeers) -> None:
    alice, bob, carol = [await peers.add(name) for name in ("alice", "bob", "carol")]
    sent = await alice.encrypt(bob, "not for carol")

    with pytest.raises(DecryptionError, match="not encrypted for this device"):
        await carol.read(sent, alice)


@pytest.mark.parametrize("sid", ["", "x", "-1", "1" * 5000, "9" * 11, "\u0661"])
async def test_a_sender_without_a_device_id_is_refused(
    peers: OmemoPeers, sid: str
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    element = (await alice.encrypt(bob, "good")).elements[0]
    next(element.iterfind("{*}header")).set("sid", sid)

    with pytest.raises(DecryptionError):
        await bob.decrypt(element, alice.jid)


async def test_malformed_elements_are_refused(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    sent = (await alice.encrypt(bob, "good")).elements[0]

    def without(path: str) -> ET.Element:
        broken = copy.deepcopy(sent)
        parent = broken.find("{*}header") if path != "{*}header" else broken
        assert parent is not None
        for child in parent.findall(path):
            parent.remove(child)
        return broken

    def with_text(name: str, text: str) -> ET.Element:
        broken = copy.deepcopy(sent)
        for found in broken.iterfind(f".//{{*}}{name}"):
            found.text = text
        return broken

    other = copy.deepcopy(sent)
    other.tag = "{urn:xmpp:omemo:1}encrypted"
    empty, unchanged = base64.b64encode(b"").decode(), 0
    for element in (
        other,
        ET.Element(sent.tag),
        without("{*}header"),
        without("{*}iv"),
        without("{*}key"),
        without("{*}keys"),
        with_text("key", "!"),
        with_text("key", empty),
        with_text("key", base64.b64encode(b"\x33" + bytes(80)).decode()),
        with_text("iv", empty),
        with_text("iv", base64.b64encode(bytes(64)).decode()),
        with_text("payload", base64.b64encode(b"changed").decode()),
    ):
        if ET.tostring(element) == ET.tostring(sent):
            unchanged += 1  # this version has no such part
            continue
        with pytest.raises(DecryptionError):
            await bob.decrypt(element, alice.jid)

    assert unchanged == (4 if peers.newest == OMEMO_2 else 1)
    assert await bob.read(sent, alice) == "good"


async def test_a_payload_that_was_changed_is_refused_and_the_original_read(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    sent = await alice.encrypt(bob, "original")
    changed = copy.deepcopy(sent.elements[0])
    payload = changed.find("{*}payload")
    assert payload is not None
    raw = bytearray(base64.b64decode(payload.text or ""))
    raw[0] ^= 1
    payload.text = base64.b64encode(raw).decode()

    with pytest.raises(DecryptionError):
        await bob.decrypt(changed, alice.jid)

    assert await bob.read(sent, alice) == "original"
