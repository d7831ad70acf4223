"""Elements of either version from and to values, with parts that are empty."""

import copy
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import omemo
import pytest
import twomemo.etree
from doubleratchet import EncryptedMessage, Header
from twomemo import twomemo as new
from x3dh import Header as ExchangeHeader

from xmpp_onion.e2ee import NAMESPACES, OMEMO_2
from xmpp_onion.e2ee.versions import (
    read_bundle,
    read_device_list,
    write_bundle,
    write_device_list,
    write_message,
)
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.omemo_peer import OmemoPeers

if TYPE_CHECKING:
    from omemo.message import EncryptedKeyMaterial, KeyExchange


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[OmemoPeers]:
    async with OmemoPeers(tmp_path) as peers:
        yield peers


def emptied(element: ET.Element) -> Iterator[ET.Element]:
    """Yield copies as they arrive, each with one part that has nothing in it."""
    for position, part in enumerate(element.iter()):
        if len(part) or part.text:
            other = copy.deepcopy(element)
            target = [*other.iter()][position]
            attributes = dict(target.attrib)
            target.clear()
            target.attrib.update(attributes)
            yield ET.fromstring(ET.tostring(other))  # noqa: S314 - the test's own text


@pytest.mark.parametrize("version", NAMESPACES)
async def test_a_bundle_with_an_empty_part_is_malformed_or_lacks_it(
    peers: OmemoPeers, version: str
) -> None:
    alice = await peers.add("alice")
    bundle = peers.server.bundles[version, alice.jid, alice.omemo.device_id]
    refused = 0

    for element in emptied(write_bundle(bundle)):
        try:
            found = read_bundle(version, element, alice.jid, bundle.device_id)
        except ValueError:
            refused += 1
        else:
            assert len(getattr(found, "pre_key_ids")) == 0  # noqa: B009 - either version's
    assert refused >= 25 + 3


@pytest.mark.parametrize("version", NAMESPACES)
def test_a_device_list_with_nothing_in_it_is_empty(version: str) -> None:
    written = write_device_list(version, {1: None, 2: None})

    for element in emptied(written):
        assert read_device_list(version, element) == {}
    assert read_device_list(version, written) == {1: None, 2: None}


@pytest.mark.parametrize("version", NAMESPACES)
async def test_a_message_with_an_empty_part_is_refused_and_the_whole_one_read(
    peers: OmemoPeers, version: str
) -> None:
    peers.server.versions = (version,)
    alice, bob = await peers.add("alice"), await peers.add("bob")
    sent = await alice.encrypt(bob, "good")

    for element in emptied(sent.elements[0]):
        with pytest.raises(DecryptionError):
            await bob.decrypt(element, alice.jid)

    assert await bob.read(sent, alice) == "good"


def message_to(devices: dict[str, int], *, text: bytes) -> omemo.Message:
    """Return a message to so many devices of each account; it begins some sessions."""
    keys: set[tuple[EncryptedKeyMaterial, KeyExchange | None]] = set()
    for jid, number in devices.items():
        for device_id in range(1, number + 1):
            sealed = b"\x0a\x10" + b"M" * 16 + b"\x12\x03" + b"key"
            ratchet = EncryptedMessage(Header(bytes(32), 0, device_id), sealed)
            begun = ExchangeHeader(bytes(32), b"E" * 32, b"", b"")
            keys.add(
                (
                    new.EncryptedKeyMaterialImpl(jid, device_id, ratchet),
                    new.KeyExchangeImpl(begun, 7, device_id) if device_id % 2 else None,
                )
            )
    content = new.ContentImpl(text) if text else new.ContentImpl.make_empty()
    return omemo.Message(OMEMO_2, "writer@example", 5, content, frozenset(keys))


def in_order(message: ET.Element) -> bytes:
    """Return an element as bytes, with its keys in one order: none is prescribed."""
    for parent in message.iter():
        parent[:] = sorted(parent, key=lambda part: (part.tag, *part.attrib.values()))
    return ET.tostring(message)


@pytest.mark.parametrize("text", [b"", b"sealed text"], ids=["of keys alone", "whole"])
@pytest.mark.parametrize(
    "devices",
    [{}, {"bob@example": 1}, {f"{n}@example": 1 + n % 4 for n in range(25)}],
    ids=["nobody", "one", "a room"],
)
def test_a_message_has_the_bytes_that_the_library_writes(
    devices: dict[str, int], text: bytes
) -> None:
    message = message_to(devices, text=text)

    written = write_message(message)

    library = twomemo.etree.serialize_message(message)
    assert in_order(written) == in_order(library)
    assert len(written.findall(".//{*}key")) == sum(devices.values())
