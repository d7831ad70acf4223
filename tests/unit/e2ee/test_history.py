"""While an archive is read: used pre-keys stay, and answers wait."""

import contextlib
import time

import pytest
from oldmemo import oldmemo
from omemo.types import JSONType
from twomemo import twomemo

from xmpp_onion.e2ee import Encrypted, SendEmpty, Trust, UploadBundle
from xmpp_onion.e2ee.pre_keys import OFFERED
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers

AnyBundle = oldmemo.BundleImpl | twomemo.BundleImpl


class StopError(Exception):
    """What a test raises to roll a transaction back."""


def offered(peers: OmemoPeers, peer: OmemoPeer) -> AnyBundle:
    bundle = peers.server.bundles[peers.place(peer)]
    assert isinstance(bundle, AnyBundle)
    return bundle


def leave_one_pre_key(peers: OmemoPeers, peer: OmemoPeer) -> bytes:
    """Have the server offer one pre-key alone, so that everybody takes that."""
    whole = offered(peers, peer)
    pre_key, number = next(iter(whole.pre_key_ids.items()))
    peers.server.bundles[peers.place(peer)] = type(whole)(
        peer.jid,
        peer.omemo.device_id,
        whole.bundle._replace(pre_keys=frozenset({pre_key})),
        whole.signed_pre_key_id,
        {pre_key: number},
    )
    return pre_key


async def collide(
    peers: OmemoPeers, policy: Trust = Trust.TOFU
) -> tuple[OmemoPeer, OmemoPeer, OmemoPeer, Encrypted, Encrypted, bytes]:
    """Two write to bob for the first time and happen to take the same pre-key."""
    bob = await peers.add("bob", policy)
    pre_key = leave_one_pre_key(peers, bob)
    alice, carol = await peers.add("alice"), await peers.add("carol")
    one, two = await alice.encrypt(bob, "one"), await carol.encrypt(bob, "two")
    return bob, alice, carol, one, two, pre_key


async def end(bob: OmemoPeer) -> None:
    async with bob.database.transaction():
        await bob.omemo.end_history()
        bob.effects += bob.omemo.take_effects()


async def test_two_who_took_the_same_pre_key_are_both_read(peers: OmemoPeers) -> None:
    bob, alice, carol, one, two, _ = await collide(peers)

    bob.omemo.begin_history()
    read = [await bob.read(one, alice), await bob.read(two, carol)]
    await end(bob)

    assert read == ["one", "two"]


async def test_two_who_took_the_same_pre_key_are_both_read_while_we_are_online(
    peers: OmemoPeers,
) -> None:
    bob, alice, carol, one, two, pre_key = await collide(peers)

    assert await bob.read(one, alice) == "one"
    await bob.do_jobs()
    assert pre_key not in offered(peers, bob).bundle.pre_keys
    assert await bob.read(two, carol) == "two"


async def test_a_used_pre_key_serves_for_a_day_after_a_bundle_without_it(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, alice, carol, one, two, _ = await collide(peers)
    await bob.read(one, alice)
    await bob.do_jobs()

    later = time.time() + 24 * 3600 + 60
    monkeypatch.setattr(time, "time", lambda: later)
    dave = await peers.add("dave")
    await bob.read(await dave.encrypt(bob, "any operation"), dave)
    with pytest.raises(DecryptionError):
        await bob.read(two, carol)


async def test_a_roll_back_in_between_forgets_no_pre_key(peers: OmemoPeers) -> None:
    bob, alice, carol, one, two, _ = await collide(peers)

    bob.omemo.begin_history()
    await bob.read(one, alice)
    with contextlib.suppress(StopError):
        async with bob.database.transaction():
            raise StopError
    assert await bob.read(two, carol) == "two"


async def test_a_restart_in_between_forgets_no_pre_key(peers: OmemoPeers) -> None:
    bob = peers.new("bob")
    async with bob:
        leave_one_pre_key(peers, bob)
        alice, carol = await peers.add("alice"), await peers.add("carol")
        one, two = await alice.encrypt(bob, "one"), await carol.encrypt(bob, "two")
        bob.omemo.begin_history()
        await bob.read(one, alice)

    bob = peers.new("bob")
    await bob.open()
    bob.omemo.begin_history()
    await bob.omemo.prepare(bob.database)
    read = await bob.read(two, carol)
    await bob.__aexit__(None, None, None)

    assert read == "two"


async def test_a_used_pre_key_is_offered_to_nobody(
    peers: OmemoPeers,
) -> None:
    bob, alice, _, one, _, pre_key = await collide(peers)

    bob.omemo.begin_history()
    await bob.read(one, alice)
    assert UploadBundle(peers.newest) in bob.effects
    await bob.do_jobs()
    during = offered(peers, bob).bundle.pre_keys
    await end(bob)

    assert pre_key not in during
    assert len(during) == OFFERED
    assert pre_key not in offered(peers, bob).bundle.pre_keys


async def test_one_answer_for_each_session_goes_out_at_the_end(
    peers: OmemoPeers,
) -> None:
    bob, alice = await peers.add("bob"), await peers.add("alice")
    sent = [await alice.encrypt(bob, str(number)) for number in range(5)]

    bob.omemo.begin_history()
    for one in sent:
        await bob.read(one, alice)
    during = [effect for effect in bob.effects if isinstance(effect, SendEmpty)]
    await end(bob)

    (answer,) = bob.take_empties()
    assert during == []
    assert await alice.read(answer, bob) == ""
    assert await alice.read(await bob.encrypt(alice, "back"), bob) == "back"


async def test_that_an_answer_is_owed_is_noted_once(
    peers: OmemoPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    store = KeyStorage._store

    async def note(storage: KeyStorage, key: str, value: JSONType) -> None:
        noted.append(key)
        await store(storage, key, value)

    bob, alice, carol = [await peers.add(name) for name in ("bob", "alice", "carol")]
    sent = [(await one.encrypt(bob, "hello"), one) for one in (alice, carol) * 3]
    monkeypatch.setattr(KeyStorage, "_store", note)
    bob.omemo.begin_history()
    for encrypted, sender in sent:
        await bob.read(encrypted, sender)

    queued = [key for key in noted if key.startswith("/queue/")]
    assert len(queued) == 4  # for each of the two: the account, and its device
    await end(bob)
    assert len(bob.take_empties()) == 2


async def test_who_is_not_accepted_gets_no_answer(peers: OmemoPeers) -> None:
    bob, alice = await peers.add("bob", Trust.MANUAL), await peers.add("alice")

    bob.omemo.begin_history()
    await bob.read(await alice.encrypt(bob, "hello"), alice)
    await end(bob)

    assert bob.take_empties() == []
