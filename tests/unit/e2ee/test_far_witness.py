"""What the server says of a store counts only if this very store has said it."""

from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.e2ee.far_witness import (
    NODE,
    derive_key,
    read_testimony,
    write_testimony,
)

KEY, OTHER_KEY = derive_key(b"k" * 32), derive_key(b"o" * 32)
STORE, OTHER_STORE = "00" * 16, "11" * 16


def changed(**values: str) -> ET.Element:
    said = write_testimony(7, KEY, STORE)
    said.attrib.update(values)
    return said


def test_what_was_said_is_read_again() -> None:
    assert read_testimony(write_testimony(2**63 - 1, KEY, STORE), KEY, STORE) == (
        2**63 - 1
    )


@pytest.mark.parametrize(
    "said",
    [
        write_testimony(7, OTHER_KEY, STORE),
        write_testimony(7, KEY, OTHER_STORE),
        changed(value="8"),
        changed(value="\u0667"),
        changed(value="07"),
        changed(value=""),
        changed(value="9" * 5000),
        changed(mac=""),
        changed(mac="é" * 64),
        changed(mac=changed().get("mac", "").upper()),
        ET.Element(f"{{{NODE}}}generation"),
        ET.Element("{other}generation", changed().attrib),
    ],
)
def test_what_this_store_did_not_say_is_nothing(said: ET.Element) -> None:
    assert read_testimony(said, KEY, STORE) == 0


def test_the_code_is_made_for_this_alone() -> None:
    assert derive_key(b"k" * 32) != b"k" * 32
    assert len(KEY) == 32
