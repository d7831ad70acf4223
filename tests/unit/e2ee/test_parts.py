"""A message for very many devices goes out in stanzas that a server takes."""

from collections import Counter
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID
from xmpp_onion.e2ee import OMEMO_2, OMEMO_OLD
from xmpp_onion.e2ee.parts import SIZE_LIMIT, room_within, size, split
from xmpp_onion.errors import EncryptionError
from xmpp_onion.session import message_stanza

_ROOM = JID("room@muc.2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion")


def old(ids: list[int]) -> ET.Element:
    element = ET.Element(f"{{{OMEMO_OLD}}}encrypted")
    header = ET.SubElement(element, f"{{{OMEMO_OLD}}}header", {"sid": "7"})
    for number in ids:
        key = ET.SubElement(header, f"{{{OMEMO_OLD}}}key", {"rid": str(number)})
        key.text = "k" * 150
    ET.SubElement(header, f"{{{OMEMO_OLD}}}iv").text = "v" * 16
    ET.SubElement(element, f"{{{OMEMO_OLD}}}payload").text = "p" * 100
    return element


def new(devices: list[tuple[int, int]]) -> ET.Element:
    element = ET.Element(f"{{{OMEMO_2}}}encrypted")
    header = ET.SubElement(element, f"{{{OMEMO_2}}}header", {"sid": "7"})
    for owner in sorted({owner for owner, _ in devices}):
        group = ET.SubElement(header, f"{{{OMEMO_2}}}keys", {"jid": f"{owner}@x"})
        for who, number in devices:
            if who == owner:
                key = ET.SubElement(group, f"{{{OMEMO_2}}}key", {"rid": str(number)})
                key.text = "k" * 150
    ET.SubElement(element, f"{{{OMEMO_2}}}payload").text = "p" * 100
    return element


def keys(element: ET.Element) -> Counter[tuple[str, str, str]]:
    return Counter(
        (group.get("jid", ""), key.get("rid", ""), key.text or "")
        for group in element.iter()
        for key in group
        if key.tag.endswith("}key")
    )


def rest(element: ET.Element) -> str:
    """Return what stands beside the keys."""
    header = element.find("{*}header")
    assert header is not None
    for child in [c for c in header if c.tag.endswith(("}key", "}keys"))]:
        header.remove(child)
    return ET.tostring(element, "unicode")


devices = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 2**31 - 1)), max_size=40, unique=True
)


@given(devices, devices, st.integers(700, 6000))
def test_each_key_is_in_exactly_one_part_and_the_content_in_all(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]], limit: int
) -> None:
    elements = [new(ours), old([number for _, number in theirs])]
    before = [ET.tostring(element) for element in elements]

    parts = split(elements, limit)

    assert [ET.tostring(element) for element in elements] == before
    assert all(size(part) <= limit for part in parts)
    for element in elements:
        same = [each for part in parts for each in part if each.tag == element.tag]
        assert sum((keys(each) for each in same), Counter()) == keys(element)
        assert {rest(each) for each in same} == {rest(element)}


def test_what_fits_stays_one_stanza() -> None:
    elements = [new([(1, 1)]), old([2])]

    assert split(elements) == (tuple(elements),)


def test_the_older_version_has_its_vector_behind_the_keys() -> None:
    [*parts] = split([old([*range(1, 20)])], 1500)

    assert len(parts) > 1
    for [element] in parts:
        header = element.find("{*}header")
        assert header is not None
        assert header[-1].tag.endswith("}iv")


def test_a_content_that_no_server_takes_is_refused() -> None:
    element = old([1])
    element[1].text = "p" * 5000

    with pytest.raises(EncryptionError, match="nothing was sent"):
        split([element], 4000)


@pytest.mark.parametrize("version", [OMEMO_2, OMEMO_OLD])
def test_five_hundred_with_two_devices_each_are_written_to_in_what_servers_take(
    version: str,
) -> None:
    devices = [(owner, 2 * 10**9 + owner) for owner in range(1000)]
    element = old([number for _, number in devices])
    if version == OMEMO_2:
        element = new([(owner // 2, number) for owner, number in devices])
    for part in element.iter():
        if "jid" in part.attrib:
            part.set("jid", f"member{part.get('jid')}{'a' * 56}.onion")
        if part.tag.endswith("}key"):
            part.text = "k" * 300  # of a first message, and to spare

    stanzas = [
        message_stanza(_ROOM, "f" * 32, part, is_room=True) for part in split([element])
    ]

    assert len(stanzas) == 2
    assert all(len(stanza.encode()) < 256 * 1024 for stanza in stanzas)
    assert sum(stanza.count("</key>") for stanza in stanzas) == len(devices)


@pytest.mark.parametrize("told", [10_000, 20_000, 100_000])
def test_a_stanza_is_no_longer_than_the_server_says(told: int) -> None:
    beside = [ET.Element("{x}beside", {"value": "v" * 6000})]
    longest = JID("r" * 1023 + _ROOM[4:])
    keys_of_many = [new([(1, n) for n in range(900)])]

    parts = split(keys_of_many, room_within(told, beside))

    lengths = [
        len(
            message_stanza(longest, "i" * 32, part, clear=beside, is_room=True).encode()
        )
        for part in parts
    ]
    assert max(lengths) <= told
    # What it takes is made use of; keys are counted with more than they take.
    assert max(lengths) >= told // 2


def test_a_server_that_says_nothing_or_much_gets_what_is_usual() -> None:
    assert room_within(None) == room_within(10**9) == SIZE_LIMIT
