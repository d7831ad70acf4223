"""A broken session gets one fresh start an hour, and nobody learns why (D15, D17)."""

import base64
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee import NAMESPACES, OMEMO_2, Effect, Encrypted, Trust, TrustLevel
from xmpp_onion.e2ee.effect import RenewSession
from xmpp_onion.e2ee.healing import Healing, Patient
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.omemo_peer import ONION, OmemoPeer, OmemoPeers

OTHERS = [
    OnionAddress.from_public_key(hashlib.sha256(bytes([number])).digest())
    for number in range(5)
]


async def read_or_heal(
    reader: OmemoPeer, what: Encrypted | ET.Element, sender: OmemoPeer
) -> bool:
    """Read a message as a client does; return whether it could be read."""
    elements = what.elements if isinstance(what, Encrypted) else (what,)
    try:
        await reader.decrypt(what, sender.jid)
    except DecryptionError as error:
        async with reader.database.transaction():
            await reader.omemo.heal(elements, sender.jid, error)
            reader.effects += reader.omemo.take_effects()
        return False
    return True


async def heal(reader: OmemoPeer, other: OmemoPeer) -> int:
    """Do the jobs of ``reader``; return how many messages the other side got."""
    await reader.do_jobs()
    empties = reader.take_empties()
    for element in empties:
        assert await other.read(element, reader) == ""
    for element in other.take_empties():
        await reader.read(element, other)
    return len(empties)


def wishes(effects: list[Effect]) -> list[RenewSession]:
    return [effect for effect in effects if isinstance(effect, RenewSession)]


@asynccontextmanager
async def without_sessions(peer: OmemoPeer) -> AsyncIterator[None]:
    """Have a device forget its sessions, and nothing else."""
    async with peer.database.transaction():
        for namespace in NAMESPACES:
            await peer.database.execute(
                "DELETE FROM keys WHERE key LIKE ?", (f"/{namespace}/%@%",)
            )
    await peer.__aexit__(None, None, None)
    async with peer:
        yield


async def test_a_lost_session_is_healed_within_one_exchange(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")
    await bob.__aenter__()
    await alice.meet(bob)

    async with without_sessions(bob):
        lost = [await alice.encrypt(bob, f"lost {n}") for n in range(3)]
        read = [await read_or_heal(bob, one, alice) for one in lost]

        assert read == [False] * 3
        assert await heal(bob, alice) == 1
        assert await bob.read(await alice.encrypt(bob, "read"), alice) == "read"
        assert await alice.read(await bob.encrypt(alice, "too"), bob) == "too"


async def test_a_device_with_a_new_store_is_written_to_at_once(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), peers.new("bob")
    await bob.__aenter__()
    await alice.meet(bob)
    await bob.__aexit__(None, None, None)
    shutil.rmtree(bob.path.parent)

    async with peers.new("bob") as bob:
        sent = await alice.encrypt(bob, "hello again")
        assert await bob.read(sent, alice) == "hello again"
        assert await alice.read(await bob.encrypt(alice, "here"), bob) == "here"


async def test_ten_thousand_bad_messages_are_one_fresh_start(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    bad = await alice.encrypt(bob, "spoilt")
    for key in bad.elements[0].iterfind(".//{*}key"):
        key.text = base64.b64encode(b"no key").decode()

    for _ in range(20):
        assert not await read_or_heal(bob, bad, alice)
    healing = bob.omemo._healing
    async with bob.database.transaction():
        for _ in range(10_000):
            await healing.ask(*peers.place(alice))
        bob.effects += bob.omemo.take_effects()

    assert len(wishes(bob.effects)) == 1
    assert await heal(bob, alice) == 1


async def test_an_hour_later_there_is_another_one(peers: OmemoPeers) -> None:
    bob, now = await peers.add("bob"), [1_000_000.0]
    jid = JID(f"alice@{bob.jid.domain}")
    counts = []

    for seconds in (0.0, 10.0, 3599.0, 3601.0):
        healing = Healing(  # as after a restart
            bob.omemo._device,
            bob.omemo._door,
            bob.jid,
            now=lambda seconds=seconds: now[0] + seconds,  # type: ignore[misc]  # a default binds it
        )
        async with bob.database.transaction():
            await healing.ask(OMEMO_2, jid, 1)
            counts.append(len(wishes(bob.omemo.take_effects())))

    assert counts == [1, 0, 0, 1]


async def test_no_servers_use_up_the_fresh_starts_of_friends(
    peers: OmemoPeers,
) -> None:
    bob, wished = await peers.add("bob"), []
    healing = bob.omemo._healing

    async def ask(name: str, domain: str, *, is_known: bool = False) -> None:
        jid = JID(f"{name}@{domain}")
        await healing.ask(OMEMO_2, jid, 1, is_known=is_known)
        wished.append(len(wishes(bob.omemo.take_effects())))

    async with bob.database.transaction():
        for number in range(201):
            await ask(f"u{number}", ONION)
        assert wished == [1] * 200 + [0]  # one server has its share
        await ask("somebody", OTHERS[0])
        assert wished.pop() == 1
        for server in OTHERS:
            for number in range(200):
                await ask(f"u{number}", server)
        assert sum(wished) == 1000 - 1  # and all of them have theirs
        await ask("friend", ONION, is_known=True)

    assert wished.pop() == 1


async def test_contacts_and_verified_devices_have_fresh_starts_of_their_own(
    peers: OmemoPeers,
) -> None:
    alice, carol, dave = [await peers.add(name) for name in ("alice", "carol", "dave")]
    bob = peers.new("bob")
    bob.contacts.add(carol.jid)
    await bob.__aenter__()
    for peer in (alice, carol, dave):
        await peer.meet(bob)

    async with without_sessions(bob):
        async with bob.database.transaction():
            for number in range(1000):
                jid = JID(f"u{number}@{OTHERS[number % 5]}")
                await bob.omemo._healing.ask(OMEMO_2, jid, 1)
            bob.omemo.take_effects()

        await bob.trust(alice, TrustLevel.TRUSTED)
        healed = []
        for peer in (alice, carol, dave):
            before = len(wishes(bob.effects))
            assert not await read_or_heal(bob, await peer.encrypt(bob, "lost"), peer)
            healed.append(len(wishes(bob.effects)) - before)

    assert healed == [1, 1, 0]


async def test_a_duplicate_heals_nothing(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await alice.meet(bob)
    sent = await alice.encrypt(bob, "once")
    await bob.read(sent, alice)

    assert not await read_or_heal(bob, sent, alice)

    assert wishes(bob.effects) == []


@pytest.mark.parametrize("level", [TrustLevel.DISTRUSTED, TrustLevel.UNDECIDED])
async def test_who_is_not_accepted_learns_nothing(
    peers: OmemoPeers, level: TrustLevel
) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")
    await bob.__aenter__()
    await alice.meet(bob)

    async with without_sessions(bob):
        await bob.trust(alice, level)
        assert not await read_or_heal(bob, await alice.encrypt(bob, "lost"), alice)

        assert wishes(bob.effects) == []


async def test_who_is_not_accepted_any_more_gets_no_fresh_session(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")
    await bob.__aenter__()
    await alice.meet(bob)

    async with without_sessions(bob):
        assert not await read_or_heal(bob, await alice.encrypt(bob, "lost"), alice)
        await bob.trust(alice, TrustLevel.DISTRUSTED)

        assert await heal(bob, alice) == 0


async def test_a_session_that_took_its_place_meanwhile_is_left_alone(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")
    await bob.__aenter__()
    await alice.meet(bob)

    async with without_sessions(bob):
        assert not await read_or_heal(bob, await alice.encrypt(bob, "lost"), alice)
        answer = await bob.encrypt(alice, "what did you say?")  # begins a session
        assert await alice.read(answer, bob) == "what did you say?"

        assert await heal(bob, alice) == 0
        assert await bob.read(await alice.encrypt(bob, "this"), alice) == "this"


async def test_a_device_whose_bundle_is_gone_is_given_up(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), peers.new("bob")
    await bob.__aenter__()
    await alice.meet(bob)

    async with without_sessions(bob):
        assert not await read_or_heal(bob, await alice.encrypt(bob, "lost"), alice)
        peers.server.bundles.clear()
        bob.omemo._directory.bundles.clear()

        assert await heal(bob, alice) == 0


def test_a_patient_is_kept_as_text() -> None:
    patient = Patient(OMEMO_2, JID(f"a@{ONION}"), 7, "key")

    assert Patient.read(patient.write()) == patient
