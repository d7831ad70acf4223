"""Elements of either version from and to values, with parts that are empty."""

import copy
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.e2ee import NAMESPACES
from xmpp_onion.e2ee.versions import (
    read_bundle,
    read_device_list,
    write_bundle,
    write_device_list,
)
from xmpp_onion.errors import DecryptionError
from xmpp_onion.testing.omemo_peer import OmemoPeers


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
