import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.address import JID
from xmpp_onion.session.roster import Contact, is_push, read_push, read_roster

ONION = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion"
BOB, ALICE = JID(f"bob@{ONION}"), JID(f"alice@{ONION}")
ITEM = f"<item jid='{ALICE}' subscription='both'/>"


def push(items: str = ITEM, sender: str = "", kind: str = "set") -> ET.Element:
    return ET.fromstring(  # noqa: S314 - it is our own text
        f"<iq xmlns='jabber:client' type='{kind}' id='1' {sender}>"
        f"<query xmlns='jabber:iq:roster'>{items}</query></iq>"
    )


@pytest.mark.parametrize("sender", ["", f"from='{BOB}'"], ids=["nobody", "ourselves"])
def test_a_push_of_our_own_account_counts(sender: str) -> None:
    assert read_push(push(sender=sender), BOB) == Contact(ALICE, "both")


@pytest.mark.parametrize(
    "sender",
    [ALICE, f"{ALICE}/x", f"{BOB}/other", ONION, f"mallory@{ONION}", f"{BOB}.", ""],
    ids=["contact", "device", "own device", "server", "stranger", "similar", "empty"],
)
def test_a_push_of_anybody_else_does_not(sender: str) -> None:
    assert read_push(push(sender=f"from='{sender}'"), BOB) is None


@pytest.mark.parametrize(
    "items",
    [
        ITEM * 2,
        "",
        "<item jid='eve@example.org' subscription='both'/>",
        f"<item jid='{ALICE}' subscription='everything'/>",
        f"<thing jid='{ALICE}' subscription='both'/>",
        ITEM + "<more xmlns='x'/>",
    ],
    ids=["two", "none", "open network", "unknown", "no item", "something else"],
)
def test_a_push_with_anything_but_one_good_item_does_not(items: str) -> None:
    assert read_push(push(items), BOB) is None


def test_only_a_set_is_a_push() -> None:
    assert is_push(push())
    assert not is_push(push(kind="get"))
    assert not is_push(push(kind="result"))


def test_contacts_are_read_and_what_is_malformed_is_left_out() -> None:
    query = push(
        ITEM
        + f"<item jid='carol@{ONION}' ask='subscribe'/>"
        + f"<item jid='dave@{ONION}' subscription='remove'/>"
        + "<item jid='eve@example.org' subscription='to'/><item/>"
    ).find("{jabber:iq:roster}query")

    assert list(read_roster(query)) == [
        Contact(ALICE, "both"),
        Contact(JID(f"carol@{ONION}"), "none", ask=True),
    ]
    assert list(read_roster(None)) == []
