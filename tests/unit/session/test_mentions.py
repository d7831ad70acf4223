"""Whom a text mentions: accounts at onions, and nobody by a name."""

import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.session.mentions import MENTION_LIMIT, read_mentions, write_mentions

ONION = OnionAddress.from_public_key(bytes(32))


def mentioned(*uris: str, kind: str = "mention") -> tuple[JID, ...]:
    elements = [
        ET.Element("{urn:xmpp:reference:0}reference", {"type": kind, "uri": uri})
        for uri in uris
    ]
    return read_mentions(elements)


def test_a_mention_is_of_an_account_at_an_onion_and_of_no_nick() -> None:
    alice, bob = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")

    assert mentioned(f"xmpp:{bob}", f"xmpp:{alice}/phone", f"xmpp:{bob}") == (
        bob,
        alice,
    )
    for uri in (
        "",
        "xmpp:",
        "xmpp:bob",
        "bob",
        str(bob),
        f"xmpp:{ONION}",
        "xmpp:bob@example.org",
        f"xmpp:{bob}?message",
        f"https://{bob}",
    ):
        assert mentioned(uri) == (), uri
    assert mentioned(f"xmpp:{bob}", kind="data") == ()


def test_no_more_people_are_mentioned_than_a_person_means() -> None:
    crowd = [f"xmpp:m{number}@{ONION}" for number in range(100)]

    assert len(mentioned(*crowd)) == MENTION_LIMIT


@pytest.mark.parametrize("name", ["a?b", "a%40", "a+b", "100%", "\N{OHM SIGN}"])
def test_a_name_in_an_address_is_read_as_it_was_written(name: str) -> None:
    whom = (JID(f"{name}@{ONION}"),)
    (element,) = write_mentions(whom)

    assert read_mentions([element]) == whom
    assert set(element.get("uri", "")[len("xmpp:") :]).isdisjoint("?+#;")
    assert mentioned("xmpp:%FF%FE@" + ONION) == ()
