"""Headers of both versions: who is named, and how a name is taken out."""

from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee import essence, reader_ids, sender_ids, withdraw

ONION = OnionAddress.from_public_key(bytes(32))
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")


def old() -> ET.Element:
    return ET.fromstring(  # noqa: S314 - our own text
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='7'>"
        "<key rid='1'>A</key><key rid='2' prekey='true'>B</key><iv>C</iv>"
        "</header></encrypted>"
    )


def new() -> ET.Element:
    return ET.fromstring(  # noqa: S314 - our own text
        f"<encrypted xmlns='urn:xmpp:omemo:2'><header sid='7'><keys jid='{BOB}'>"
        f"<key rid='1'>A</key></keys><keys jid='{ALICE}'><key rid='1'>B</key>"
        "<key rid='3'>C</key></keys></header></encrypted>"
    )


def test_both_versions_say_who_it_is_from_and_for() -> None:
    assert sender_ids([old(), new()]) == {7}
    assert reader_ids([old()]) == {1, 2}
    assert reader_ids([new()]) == {1, 3}


@pytest.mark.parametrize("number", ["", "-1", "x", "1" * 5000])
def test_what_is_no_number_is_nobody(number: str) -> None:
    element = old()
    element[0].set("sid", number)
    element[0][0].set("rid", number)

    assert sender_ids([element]) == {0}
    assert reader_ids([element]) == {0, 2}


def test_a_device_is_taken_out_and_the_others_stay() -> None:
    element = old()

    assert withdraw([element], BOB, [1]) == 1
    assert reader_ids([element]) == {2}


def test_the_same_number_of_another_account_stays() -> None:
    element = new()

    assert withdraw([element], BOB, [1]) == 1
    assert reader_ids([element]) == {1, 3}
    assert element.find(f".//*[@jid='{BOB}']/*") is None


def test_who_is_not_there_changes_nothing() -> None:
    elements = [old(), new()]
    before = [ET.tostring(element) for element in elements]

    assert withdraw(elements, BOB, [9]) == 0
    assert [ET.tostring(element) for element in elements] == before


def changed(element: ET.Element, path: str, text: str) -> ET.Element:
    found = element.find(path)
    assert found is not None
    found.text = text
    return element


def test_the_essence_is_what_one_device_reads_and_nothing_of_others() -> None:
    whole, slim = old(), old()
    withdraw([slim], BOB, [2])

    assert essence([whole], BOB, 1) == essence([slim], BOB, 1) != []
    assert essence([slim], BOB, 2) == []
    assert essence([new()], BOB, 1) != essence([new()], ALICE, 1)
    assert essence([new()], BOB, 3) == []


@pytest.mark.parametrize(
    "other",
    [
        changed(old(), "{*}header/{*}key", "other"),
        changed(old(), "{*}header/{*}iv", "other"),
        ET.fromstring(  # noqa: S314 - our own text
            ET.tostring(old(), "unicode").replace('sid="7"', 'sid="8"')
        ),
        ET.fromstring(  # noqa: S314 - our own text
            ET.tostring(old(), "unicode").replace('rid="1"', 'rid="1" prekey="1"')
        ),
    ],
)
def test_what_is_read_otherwise_has_another_essence(other: ET.Element) -> None:
    assert essence([other], BOB, 1) != essence([old()], BOB, 1)
