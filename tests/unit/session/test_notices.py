"""What is said in the clear about messages of ours."""

import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import DeliveryState
from xmpp_onion.session.notices import read_confirmation, read_error

ONION = OnionAddress.from_public_key(bytes(32))
OTHER = OnionAddress.from_public_key(bytes(31) + b"\x01")
OWN, BOB = JID(f"alice@{ONION}"), JID(f"bob@{OTHER}")


def element(inside: str, **attributes: str) -> ET.Element:
    text = f"<message xmlns='jabber:client'>{inside}</message>"
    made = ET.fromstring(text)  # noqa: S314 - our own text
    made.attrib.update(attributes)
    return made


def error(condition: str) -> ET.Element:
    return element(
        "<error type='cancel'>"
        f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>ignored</text></error>",
        type="error",
        id="m1",
    )


@pytest.mark.parametrize(
    ("inside", "state"),
    [
        ("<received xmlns='urn:xmpp:receipts' id='m1'/>", DeliveryState.RECEIVED),
        ("<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>", "displayed"),
    ],
)
def test_a_confirmation_names_its_message_and_who_says_so(
    inside: str, state: str
) -> None:
    notice = read_confirmation(element(inside), JID(f"{BOB}/phone"))

    assert notice is not None
    assert (notice.target, notice.state, notice.by) == ("m1", state, BOB)


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "<received xmlns='urn:xmpp:receipts'/>",
        "<received xmlns='urn:xmpp:receipts:other' id='m1'/>",
        "<x><received xmlns='urn:xmpp:receipts' id='m1'/></x>",
    ],
)
def test_what_names_no_message_confirms_none(inside: str) -> None:
    assert read_confirmation(element(inside), BOB) is None


def test_a_known_condition_is_told_in_words() -> None:
    notice = read_error(error("service-unavailable"), BOB, OWN)

    assert notice is not None
    assert notice.state is DeliveryState.FAILED
    assert notice.reason == "the account does not exist, or takes no messages"


def test_an_unknown_condition_is_named_and_harmless() -> None:
    notice = read_error(error("w\u00f6rse"), BOB, OWN)

    assert notice is not None
    assert notice.reason == r"the server refused it: 'w\xf6rse'"


@pytest.mark.parametrize("sender", [OWN, JID(ONION)])
def test_our_own_server_may_say_it_of_every_recipient(sender: JID) -> None:
    notice = read_error(error("gone"), sender, OWN)

    assert notice is not None
    assert notice.by is None


@pytest.mark.parametrize("sender", [BOB, JID(OTHER), JID(f"mallory@{ONION}")])
def test_anybody_else_speaks_for_themselves(sender: JID) -> None:
    notice = read_error(error("gone"), sender, OWN)

    assert notice is not None
    assert notice.by == sender


@pytest.mark.parametrize("sender", [OWN, BOB])
def test_one_device_of_many_cannot_say_that_a_message_failed(sender: JID) -> None:
    assert read_error(error("gone"), JID(f"{sender}/phone"), OWN) is None
