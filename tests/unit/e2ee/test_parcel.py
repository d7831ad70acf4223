"""What is for us in an element: as the libraries read it, and nothing malformed."""

from collections.abc import Callable
from copy import deepcopy
from xml.etree import ElementTree as ET

import oldmemo.etree
import omemo
import pytest
import twomemo.etree
from oldmemo import oldmemo as old
from twomemo import twomemo as new

from xmpp_onion.e2ee import OMEMO_2, OMEMO_OLD, Plain
from xmpp_onion.e2ee.parcel import Parcel, read_parcel, read_sender_id
from xmpp_onion.testing.omemo_peer import OmemoPeer, OmemoPeers

ANY_KEY = bytes(32)


def namespace_of(element: ET.Element) -> str:
    return element.tag[1:].partition("}")[0]


async def first_and_later(alice: OmemoPeer, bob: OmemoPeer) -> list[ET.Element]:
    """Return an element that begins a session, and one that does not."""
    [first] = (await alice.encrypt(bob, "first")).elements
    await bob.decrypt(first, alice.jid)
    await alice.decrypt(await bob.encrypt(alice, "answer"), bob.jid)
    [later] = (await alice.encrypt(bob, "later")).elements
    return [first, later]


async def library_reads(
    element: ET.Element, sender: OmemoPeer, reader: OmemoPeer
) -> omemo.Message:
    if namespace_of(element) == OMEMO_2:
        return twomemo.etree.parse_message(element, sender.jid)
    async with reader.database.transaction():
        manager = await reader.omemo._device.open()
        return await oldmemo.etree.parse_message(
            element, sender.jid, reader.jid, manager
        )


def reads(element: ET.Element, reader: OmemoPeer) -> Parcel:
    # The keys that we draw have this bit clear; the library looks it up.
    own = reader.jid, reader.omemo.device_id
    return read_parcel(namespace_of(element), element, own, identity_key=ANY_KEY)


def values(
    key: omemo.EncryptedKeyMaterial,
    exchange: omemo.KeyExchange | None,
    content: omemo.Content,
) -> tuple[object, ...]:
    match key, content:
        case new.EncryptedKeyMaterialImpl(), new.ContentImpl():
            data, text = key.serialize(), (content.ciphertext, b"")
        case old.EncryptedKeyMaterialImpl(), old.ContentImpl():
            data = key.serialize()
            text = content.ciphertext, content.initialization_vector
        case _:
            raise AssertionError("of two versions")
    begun: tuple[object, ...] = ()
    if isinstance(exchange, new.KeyExchangeImpl | old.KeyExchangeImpl):
        begun = exchange.header, exchange.signed_pre_key_id, exchange.pre_key_id
    return (key.bare_jid, key.device_id, data, *text, *begun)


async def test_it_reads_for_us_what_the_library_reads(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")

    for element in await first_and_later(alice, bob):
        message = await library_reads(element, alice, bob)
        parcel = reads(element, bob)

        [(key, exchange)] = message.keys
        assert (exchange is None) == (parcel.exchange is None) == (parcel.begun == b"")
        assert values(parcel.key, parcel.exchange, parcel.content) == values(
            key, exchange, message.content
        )
        assert parcel.device_id == message.device_id == alice.omemo.device_id
        assert read_sender_id(parcel.namespace, element) == alice.omemo.device_id


async def test_a_message_that_only_carries_keys_has_no_content(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements

    element.remove(found(element, "payload"))

    assert reads(element, bob).content.empty


async def test_line_breaks_in_bytes_are_no_fault(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements
    broken = deepcopy(element)

    for part in broken.iter():
        if part.text:
            part.text = f"\n  {part.text[:7]}\n  {part.text[7:]}\t"

    expected, parcel = reads(element, bob), reads(broken, bob)
    assert values(*parcel[2:]) == values(*expected[2:])


async def test_what_is_for_others_is_not_looked_at(peers: OmemoPeers) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements
    key = found(element, "key")
    other = ET.SubElement(parent_of(element, key), key.tag, rid="1")
    other.text = "no bytes at all"

    assert reads(element, bob).device_id == alice.omemo.device_id


async def test_the_key_of_another_account_with_our_number_is_not_ours(
    peers: OmemoPeers,
) -> None:
    peers.server.versions = (OMEMO_2,)
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements
    group = found(element, "keys")
    other = deepcopy(group)
    other.set("jid", alice.jid)
    other[0].text = "no bytes at all"

    parent_of(element, group).insert(0, other)

    assert reads(element, bob).device_id == alice.omemo.device_id
    parent_of(element, group).remove(group)
    with pytest.raises(ValueError, match="not one key"):
        reads(element, bob)


# --- what is malformed ----------------------------------------------------------------


def found(element: ET.Element, name: str) -> ET.Element:
    [one] = element.iterfind(f".//{{*}}{name}")
    return one


def parent_of(element: ET.Element, child: ET.Element) -> ET.Element:
    return next(one for one in element.iter() if child in list(one))


def set_text(name: str, text: str) -> Callable[[ET.Element], None]:
    return lambda element: setattr(found(element, name), "text", text)


def set_value(name: str, what: str, value: str) -> Callable[[ET.Element], None]:
    return lambda element: found(element, name).set(what, value)


def twice(name: str) -> Callable[[ET.Element], None]:
    def change(element: ET.Element) -> None:
        one = found(element, name)
        parent_of(element, one).append(deepcopy(one))

    return change


def put_into(name: str) -> Callable[[ET.Element], None]:
    return lambda element: found(element, name).append(ET.Element("{urn:example}x"))


def another_header_first(element: ET.Element) -> None:
    element.insert(0, ET.Element("{urn:example}header", sid="7"))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(set_text("key", ""), id="an empty key"),
        pytest.param(set_text("key", "?"), id="a key that is no base64"),
        pytest.param(set_text("key", "AAAA\u0661AAA"), id="a key in other letters"),
        pytest.param(set_text("key", "AAAA"), id="a key without its parts"),
        pytest.param(set_text("key", "/" * 8), id="a key that is no protobuf"),
        pytest.param(set_text("key", "A" * 4100), id="a key without end"),
        pytest.param(put_into("key"), id="a key with something in it"),
        pytest.param(put_into("payload"), id="a payload with something in it"),
        pytest.param(twice("header"), id="two headers"),
        pytest.param(another_header_first, id="two headers of two versions"),
        pytest.param(twice("payload"), id="two payloads"),
        pytest.param(set_text("payload", "="), id="a payload that is no base64"),
        pytest.param(set_value("header", "sid", ""), id="no sender"),
        pytest.param(set_value("header", "sid", "-1"), id="a negative sender"),
        pytest.param(set_value("header", "sid", "4294967296"), id="a sender too high"),
        pytest.param(set_value("header", "sid", "9" * 5000), id="a sender too long"),
        pytest.param(set_value("header", "sid", "\u0661"), id="another one's digits"),
        pytest.param(set_value("key", "rid", "1"), id="nothing for us"),
    ],
)
async def test_what_is_malformed_is_refused(
    peers: OmemoPeers, spoil: Callable[[ET.Element], None]
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements

    spoil(element)

    with pytest.raises(ValueError, match=r"."):
        reads(element, bob)


async def test_of_several_keys_for_us_the_older_version_has_the_first_read(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements
    [other] = (await alice.encrypt(bob, "else")).elements
    expected = values(*reads(element, bob)[2:])

    key = found(element, "key")
    parent_of(element, key).append(deepcopy(found(other, "key")))

    if namespace_of(element) == OMEMO_2:  # where each key has its owner's name
        with pytest.raises(ValueError, match="not one key"):
            reads(element, bob)
    else:
        assert values(*reads(element, bob)[2:]) == expected
        assert (await bob.decrypt(element, alice.jid)).plain == Plain("hello")


@pytest.mark.parametrize("vector", ["", "AAAA", "A" * 24, "A" * 4100])
async def test_an_initialization_vector_has_12_or_16_bytes(
    peers: OmemoPeers, vector: str
) -> None:
    peers.server.versions = (OMEMO_OLD,)
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements

    set_text("iv", vector)(element)

    with pytest.raises(ValueError, match=r"vector|bytes"):
        reads(element, bob)


@pytest.mark.parametrize("spoil", [twice("iv"), put_into("iv")])
async def test_there_is_one_initialization_vector_and_nothing_in_it(
    peers: OmemoPeers, spoil: Callable[[ET.Element], None]
) -> None:
    peers.server.versions = (OMEMO_OLD,)
    alice, bob = await peers.add("alice"), await peers.add("bob")
    [element] = (await alice.encrypt(bob, "hello")).elements

    spoil(element)

    with pytest.raises(ValueError, match=r"iv|bytes"):
        reads(element, bob)
