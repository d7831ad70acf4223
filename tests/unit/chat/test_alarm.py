"""What happened to devices: through the inbox, and as a line."""

import json
from datetime import UTC, datetime

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    KeyChanged,
    KeyReuse,
    NewDevice,
    TrustChanged,
    line,
    read_event,
    write_event,
)

ONION = OnionAddress.from_public_key(b"\x05" * 32)
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
AT = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
DIGITS = "0123abcd" * 8
COMMON = {
    "v": 1,
    "jid": str(BOB),
    "device": 7,
    "fingerprint": DIGITS,
    "at": "2026-11-23T12:00:05Z",
}
NEW = NewDevice(
    sender=BOB, device=7, fingerprint=DIGITS, trust="undecided", own=False, at=AT
)
CHANGED = KeyChanged(sender=BOB, device=7, fingerprint=DIGITS, before="f" * 64, at=AT)
REUSE = KeyReuse(sender=BOB, device=7, fingerprint=DIGITS, owner=ALICE, at=AT)
TRUST = TrustChanged(
    sender=BOB, device=7, fingerprint=DIGITS, trust="verified", by=ALICE, at=AT
)


@pytest.mark.parametrize(
    ("event", "more"),
    [
        (NEW, {"event": "new-device", "trust": "undecided", "own": False}),
        (CHANGED, {"event": "key-changed", "trust": "distrusted", "before": "f" * 64}),
        (REUSE, {"event": "key-reuse", "trust": "distrusted", "owner": str(ALICE)}),
        (TRUST, {"event": "trust-changed", "trust": "verified", "by": str(ALICE)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_alarm_survives_the_inbox_and_is_one_line(
    event: NewDevice | KeyChanged | KeyReuse | TrustChanged, more: dict[str, object]
) -> None:
    assert read_event(write_event(event)) == event
    assert json.loads(json.dumps(line(event))) == COMMON | more
