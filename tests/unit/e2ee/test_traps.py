"""What the bare libraries lose or let in, and that we do not.

tests/hostile/traps shows each trap on python-omemo as it is.
"""

import asyncio
import base64
import copy
from typing import TypeVar
from xml.etree import ElementTree as ET

import oldmemo
import oldmemo.oldmemo
import omemo
import pytest
import twomemo.twomemo

from xmpp_onion.e2ee import OMEMO_2, OMEMO_OLD, Trust, TrustLevel, Withdraw
from xmpp_onion.errors import DecryptionError, NoDevicesError
from xmpp_onion.testing.omemo_peer import OmemoPeers

AnyExchange = TypeVar(
    "AnyExchange",
    oldmemo.oldmemo.KeyExchangeImpl,
    twomemo.twomemo.KeyExchangeImpl,
)
AnyBundle = oldmemo.oldmemo.BundleImpl | twomemo.twomemo.BundleImpl

ALICE, BOB = "alice@example.onion", "bob@example.onion"


# --- messages sent at once ----------------------------------------------------------


async def test_we_lose_none(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    await bob.read(await alice.encrypt(bob, "hello"), alice)

    sent = await asyncio.gather(*(alice.encrypt(bob, str(n)) for n in range(10)))

    assert {await bob.read(one, alice) for one in sent} == {str(n) for n in range(10)}


# --- a bundle that is swapped (D8) --------------------------------------------------


async def test_a_bundle_with_another_key_than_before_is_not_used(
    peers: OmemoPeers,
) -> None:
    bob, mallory = await peers.add("bob"), await peers.add("mallory")
    async with peers.new("alice") as alice:
        await alice.devices(bob)  # the key is known now, and there is no session
    number = bob.omemo.device_id
    forged = peers.server.bundles[peers.place(mallory)]
    peers.server.bundles[peers.newest, bob.jid, number] = rewritten(
        forged, bob.jid, number
    )

    async with peers.new("alice") as alice:
        with pytest.raises(NoDevicesError, match="another identity key"):
            await alice.encrypt(bob, "for bob only")


# --- a bundle that is copied (T24) --------------------------------------------------


def rewritten(bundle: omemo.Bundle, jid: str, device_id: int) -> omemo.Bundle:
    assert isinstance(bundle, AnyBundle)
    return type(bundle)(
        jid, device_id, bundle.bundle, bundle.signed_pre_key_id, bundle.pre_key_ids
    )


async def test_a_message_of_one_account_is_not_read_as_of_another(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    mallory = peers.new("mallory")
    await bob.devices(alice)
    sent = await alice.encrypt(bob, "I, Alice, agree")
    number = alice.omemo.device_id
    bundle = peers.server.bundles[peers.newest, alice.jid, number]
    peers.server.push(mallory.jid, [number])
    peers.server.bundles[peers.newest, mallory.jid, number] = rewritten(
        bundle, mallory.jid, number
    )

    with pytest.raises(DecryptionError, match="belongs to another account"):
        await bob.read(sent, mallory)

    with pytest.raises(NoDevicesError, match="belongs to another account"):
        await bob.encrypt(mallory, "for mallory")
    assert await bob.read(sent, alice) == "I, Alice, agree"


async def test_a_pinned_key_belongs_to_whom_it_is_pinned_for(
    peers: OmemoPeers,
) -> None:
    alice = await peers.add("alice")
    pins = {alice.jid: frozenset({alice.omemo.fingerprint})}
    bob, mallory = await peers.add("bob", pins=pins), peers.new("mallory")
    number = alice.omemo.device_id
    bundle = peers.server.bundles[peers.newest, alice.jid, number]
    peers.server.push(mallory.jid, [number])
    peers.server.bundles[peers.newest, mallory.jid, number] = rewritten(
        bundle, mallory.jid, number
    )
    sent = await alice.encrypt(bob, "hello")

    with pytest.raises(DecryptionError, match="belongs to another account"):
        await bob.read(sent, mallory)  # the first that bob hears of that key

    assert await bob.read(sent, alice) == "hello"


# --- keys that are no keys (T22, D7) ------------------------------------------------

# RFC 7748, section 6.1 and https://cr.yp.to/ecdh.html#validate: points of low order.
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
]


def spoilt(bundle: omemo.Bundle, how: str, point: bytes) -> omemo.Bundle:
    assert isinstance(bundle, AnyBundle)
    inner, ids = bundle.bundle, dict(bundle.pre_key_ids)
    match how:
        case "identity key":
            inner = inner._replace(identity_key=point)
        case "signed pre-key":
            inner = inner._replace(signed_pre_key=point)
        case "signature":
            inner = inner._replace(signed_pre_key_sig=bytes(64))
        case "pre-keys":
            inner, ids = inner._replace(pre_keys=frozenset({point})), {point: 1}
        case "no pre-keys":
            inner, ids = inner._replace(pre_keys=frozenset()), {}
        case "too many pre-keys":
            ids = {number.to_bytes(32, "big"): number for number in range(10_000)}
            inner = inner._replace(pre_keys=frozenset(ids))
        case "short pre-keys":
            inner, ids = inner._replace(pre_keys=frozenset({b"short"})), {b"short": 1}
    return type(bundle)(
        bundle.bare_jid, bundle.device_id, inner, bundle.signed_pre_key_id, ids
    )


@pytest.mark.parametrize(
    ("how", "point"),
    [
        *(("identity key", point) for point in LOW_ORDER),
        *(("signed pre-key", point) for point in LOW_ORDER),
        *(("pre-keys", point) for point in LOW_ORDER),
        ("signature", b""),
        ("no pre-keys", b""),
        ("too many pre-keys", b""),
        ("short pre-keys", b""),
        ("identity key", b"short"),
        ("signed pre-key", b"short"),
    ],
)
async def test_a_broken_bundle_costs_its_device_the_message_and_nobody_else(
    peers: OmemoPeers, how: str, point: bytes
) -> None:
    alice, phone = await peers.add("alice"), await peers.add("bob")
    laptop = await peers.add("bob", device="laptop")
    key = peers.place(laptop)
    if peers.newest == OMEMO_2:  # no second choice
        del peers.server.bundles[OMEMO_OLD, laptop.jid, laptop.omemo.device_id]
    peers.server.bundles[key] = spoilt(peers.server.bundles[key], how, point)

    sent = await alice.encrypt(phone, "hello")

    assert sent.devices == 1
    assert len(sent.skipped) == 1
    assert await phone.read(sent, alice) == "hello"
    assert not await alice.omemo._device.has_session(*key)


def with_ephemeral_key(element: ET.Element, point: bytes) -> ET.Element:
    """Return a first message whose key exchange has another ephemeral key."""
    forged = copy.deepcopy(element)
    (key,) = forged.iterfind(".//{*}key")
    raw = base64.b64decode(key.text or "")
    if forged.tag.startswith(f"{{{OMEMO_OLD}}}"):
        old = oldmemo.oldmemo.KeyExchangeImpl
        exchange, message = old.parse(raw, set_sign_bit=False)
        changed, _ = with_point(exchange, point).serialize(message)
    else:
        new = twomemo.twomemo.KeyExchangeImpl
        kex, message = new.parse(raw)
        changed = with_point(kex, point).serialize(message)
    key.text = base64.b64encode(changed).decode()
    return forged


def with_point(exchange: AnyExchange, point: bytes) -> AnyExchange:
    return type(exchange)(
        exchange.header._replace(ephemeral_key=point),
        exchange.signed_pre_key_id,
        exchange.pre_key_id,
    )


@pytest.mark.parametrize("point", LOW_ORDER)
async def test_a_key_exchange_with_a_low_order_point_leaves_no_session(
    peers: OmemoPeers, point: bytes
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    sent = await alice.encrypt(bob, "hello")
    forged = with_ephemeral_key(sent.elements[0], point)

    with pytest.raises(DecryptionError):
        await bob.decrypt(forged, alice.jid)

    assert not await bob.omemo._device.has_session(*peers.place(alice))
    assert await bob.read(sent, alice) == "hello"


async def test_who_distrusts_a_key_withdraws_it_under_each_of_its_numbers(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice", Trust.BTBV), await peers.add("bob")
    number, twin = bob.omemo.device_id, bob.omemo.device_id + 1
    for namespace in peers.server.versions:
        bundle = peers.server.bundles[namespace, bob.jid, number]
        copy = rewritten(bundle, bob.jid, twin)
        peers.server.bundles[namespace, bob.jid, twin] = copy
    peers.server.push(bob.jid, [number, twin])
    assert len(await alice.devices(bob)) == 2

    async with alice.database.transaction():
        await alice.omemo.keyring.set_trust(
            bob.jid, bob.omemo.fingerprint, TrustLevel.DISTRUSTED
        )
        effects = alice.omemo.take_effects()

    gone = {e.device.device_id for e in effects if isinstance(e, Withdraw)}
    assert gone == {number, twin}
