"""What we write has the bytes that the libraries write."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import oldmemo.etree
import omemo
import pytest
import twomemo.etree
import x3dh
import xeddsa
from doubleratchet import EncryptedMessage, Header
from oldmemo import oldmemo as old
from twomemo import twomemo as new
from x3dh import Header as ExchangeHeader

from xmpp_onion.e2ee import NAMESPACES, OMEMO_2, OMEMO_OLD, Encrypted
from xmpp_onion.e2ee.elements import write_bundle, write_device_list, write_message
from xmpp_onion.testing.omemo_peer import OmemoPeers

if TYPE_CHECKING:
    from omemo.message import EncryptedKeyMaterial, KeyExchange

BOTH = pytest.mark.parametrize("version", NAMESPACES)
LIBRARY = {OMEMO_2: twomemo.etree, OMEMO_OLD: oldmemo.etree}
OF = {OMEMO_2: new, OMEMO_OLD: old}


def message_to(version: str, devices: dict[str, int], *, text: bytes) -> omemo.Message:
    """Return a message to so many devices of each account; it begins some sessions."""
    kind = OF[version]
    sealed = b"\x0a\x10" + b"M" * 16 + b"\x12\x03" + b"key"
    identity = xeddsa.priv_to_ed25519_pub(b"i" * 32)
    keys: set[tuple[EncryptedKeyMaterial, KeyExchange | None]] = set()
    for jid, number in devices.items():
        for device_id in range(1, number + 1):
            ratchet = EncryptedMessage(Header(bytes(32), 0, device_id), sealed)
            begun = ExchangeHeader(identity, b"E" * 32, b"", b"")
            keys.add(
                (
                    kind.EncryptedKeyMaterialImpl(jid, device_id, ratchet),
                    kind.KeyExchangeImpl(begun, 7, device_id)
                    if device_id % 2
                    else None,
                )
            )
    return omemo.Message(
        version, "writer@example", 5, content_of(version, text), frozenset(keys)
    )


def content_of(version: str, text: bytes) -> omemo.Content:
    if not text:
        return OF[version].ContentImpl.make_empty()
    return new.ContentImpl(text) if version == OMEMO_2 else old.ContentImpl(text, b"iv")


def in_order(message: ET.Element) -> bytes:
    """Return an element as bytes, with its keys in one order: none is prescribed."""
    for parent in message.iter():
        parent[:] = sorted(
            parent, key=lambda part: (part.tag, *part.attrib.values(), part.text or "")
        )
    return ET.tostring(message)


@BOTH
@pytest.mark.parametrize("text", [b"", b"sealed text"], ids=["of keys alone", "whole"])
@pytest.mark.parametrize(
    "devices",
    [{}, {"bob@example": 1}, {f"{n}@example": 1 + n % 4 for n in range(25)}],
    ids=["nobody", "one", "a room"],
)
def test_a_message_has_the_bytes_that_the_library_writes(
    version: str, devices: dict[str, int], text: bytes
) -> None:
    message = message_to(version, devices, text=text)

    written = write_message(message)

    assert in_order(written) == in_order(LIBRARY[version].serialize_message(message))
    assert len(written.findall(".//{*}key")) == sum(devices.values())


@BOTH
@pytest.mark.parametrize("secret", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 25])
def test_a_bundle_has_the_bytes_that_the_library_writes(
    version: str, count: int, secret: int
) -> None:
    # Another secret has another sign bit.
    priv = bytes([secret]) * 32
    signed = xeddsa.priv_to_curve25519_pub(bytes([9]) * 32)
    pre_keys = {bytes([n + 1]) * 32: n for n in range(count)}
    keys = x3dh.Bundle(
        xeddsa.priv_to_ed25519_pub(priv),
        signed,
        xeddsa.ed25519_priv_sign(priv, signed),
        frozenset(pre_keys),
    )
    if version == OMEMO_2:
        bundle = new.BundleImpl("bob@example", 1, keys, 5, pre_keys)
        library = twomemo.etree.serialize_bundle(bundle)
    else:
        bundle = old.BundleImpl("bob@example", 1, keys, 5, pre_keys)
        library = oldmemo.etree.serialize_bundle(bundle)

    assert ET.tostring(write_bundle(bundle)) == ET.tostring(library)


@BOTH
def test_a_device_list_has_the_bytes_that_the_library_writes(version: str) -> None:
    label = omemo.SignedLabel("phone & <more>", b"s" * 64)
    devices: omemo.DeviceList = {5: None, 2**31: label, 1: None}

    for each in ({}, devices):
        written = write_device_list(version, each)
        library = LIBRARY[version].serialize_device_list(each)
        assert ET.tostring(written) == ET.tostring(library)


def test_a_part_of_another_version_is_refused() -> None:
    mixed = message_to(OMEMO_OLD, {"bob@example": 1}, text=b"x")
    mixed = mixed._replace(content=content_of(OMEMO_2, b"x"))

    with pytest.raises(TypeError, match="another version"):
        write_message(mixed)


def test_a_client_is_loaded_without_the_schemas_of_the_libraries() -> None:
    code = "import sys; from xmpp_onion import Client, Bot; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    loaded = set(done.stdout.split())
    assert {"slixmpp", "oldmemo", "twomemo"} <= loaded
    assert not {"xmlschema", "oldmemo.etree", "twomemo.etree"} & loaded


@pytest.mark.parametrize(
    ("versions", "first", "later"), [(NAMESPACES, 264, 168), ((OMEMO_OLD,), 236, 132)]
)
async def test_a_key_is_no_longer_than_its_version_asks_for(
    tmp_path: Path, versions: tuple[str, ...], first: int, later: int
) -> None:
    async with OmemoPeers(tmp_path) as peers:
        peers.server.versions = versions
        alice, bob = await peers.add("alice"), await peers.add("bob")
        begins = await alice.encrypt(bob, "hello")
        await bob.read(begins, alice)
        await alice.read(await bob.encrypt(alice, "hello"), bob)
        goes_on = await alice.encrypt(bob, "hello")

    # The numbers of pre-keys take a byte or two each.
    assert first - 4 <= length_of_key(begins) <= first + 4
    assert length_of_key(goes_on) == later


def length_of_key(encrypted: Encrypted) -> int:
    (element,) = encrypted.elements
    (key,) = (one for one in element.iter() if one.tag.endswith("}key"))
    return len(key.text or "")
