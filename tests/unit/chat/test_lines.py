import json
from datetime import UTC, datetime, timedelta

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Delivery,
    DeliveryState,
    Event,
    Gap,
    Message,
    MoreRequests,
    Undecryptable,
    line,
)

ONION = OnionAddress.from_public_key(b"\x05" * 32)
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
AT = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)


def test_a_message_line_has_what_the_contract_names() -> None:
    message = Message(
        id="m1",
        sender=ALICE,
        to=BOB,
        text="hi",
        namespace="eu.siacs.conversations.axolotl",
        device=123,
        fingerprint="ab" * 32,
        trust="tofu",
        at=AT,
    )

    assert json.loads(json.dumps(line(message))) == {
        "v": 1,
        "event": "message",
        "id": "m1",
        "from": str(ALICE),
        "to": str(BOB),
        "room": None,
        "body": "hi",
        "encrypted": True,
        "namespace": "eu.siacs.conversations.axolotl",
        "device": 123,
        "fingerprint": "ab" * 32,
        "trust": "tofu",
        "at": "2026-11-23T12:00:05Z",
        "expires_at": None,
        "reply_to": None,
        "mentions": [],
        "mentions_me": False,
    }


def test_a_gap_line_has_what_the_contract_names() -> None:
    gap = Gap(sender=BOB, since=AT, until=AT + timedelta(days=7), at=AT)

    assert json.loads(json.dumps(line(gap))) == {
        "v": 1,
        "event": "gap",
        "from": str(BOB),
        "since": "2026-11-23T12:00:05Z",
        "until": "2026-11-30T12:00:05Z",
    }


def test_a_sent_line_has_what_the_contract_names() -> None:
    delivery = Delivery(
        id="d1", to=BOB, devices=2, skipped=("device 9",), state=DeliveryState.ACKED
    )

    assert json.loads(json.dumps(line(delivery))) == {
        "v": 1,
        "event": "sent",
        "id": "d1",
        "to": str(BOB),
        "encrypted": True,
        "devices": 2,
        "skipped": ["device 9"],
        "state": "acked",
        "reason": None,
        "text_only": 0,
    }


def test_an_undecryptable_line_has_what_the_contract_names() -> None:
    unreadable = Undecryptable(id="u1", sender=ALICE, reason="no session", at=AT)

    assert line(unreadable) == {
        "v": 1,
        "event": "undecryptable",
        "id": "u1",
        "from": ALICE,
        "room": None,
        "reason": "no session",
        "count": 1,
        "at": "2026-11-23T12:00:05Z",
    }


def test_a_request_line_has_what_the_contract_names() -> None:
    assert line(ContactRequest(sender=ALICE, at=AT)) == {
        "v": 1,
        "event": "request",
        "from": ALICE,
        "at": "2026-11-23T12:00:05Z",
    }


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (ContactAccepted(sender=ALICE, at=AT), "contact-accepted"),
        (ContactRemoved(sender=ALICE, at=AT), "contact-removed"),
        (MoreRequests(sender=ALICE, count=7, at=AT), "requests"),
    ],
)
def test_what_people_do_has_a_line_of_its_own(event: Event, name: str) -> None:
    told = line(event)

    assert (told["event"], told["from"]) == (name, ALICE)
    assert told.get("count", 7) == 7
