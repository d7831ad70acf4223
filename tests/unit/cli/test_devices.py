from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import KeyChanged, KeyReuse, NewDevice, TrustChanged
from xmpp_onion.cli.devices import told, told_alarm

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

ONION = OnionAddress.from_public_key(b"\x05" * 32)
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
AT = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
DIGITS = "0123abcd" * 8
NEW = NewDevice(
    sender=BOB, device=7, fingerprint=DIGITS, trust="undecided", own=False, at=AT
)
CHANGED = KeyChanged(sender=BOB, device=7, fingerprint=DIGITS, before="f" * 64, at=AT)
REUSE = KeyReuse(sender=BOB, device=7, fingerprint=DIGITS, owner=ALICE, at=AT)
TRUST = TrustChanged(
    sender=BOB, device=7, fingerprint=DIGITS, trust="verified", by=ALICE, at=AT
)


def test_a_fingerprint_is_told_in_groups_and_a_label_is_harmless() -> None:
    text = told(
        {"jid": "bob@x", "device": 7, "fingerprint": "0123456789abcdef" * 4,
         "trust": "tofu", "active": False, "label": "\x1b[2Jlaptop\n"}
    )  # fmt: skip

    first, second, *rest = text.split("\n")
    assert first == r"bob@x 7 (tofu, not in use) \x1b[2Jlaptop"
    assert rest == ["  " + " ".join(["01234567", "89abcdef"] * 4)]
    assert second == "  | "


@pytest.mark.parametrize("event", [NEW, CHANGED, REUSE, TRUST], ids=type)
def test_an_alarm_shows_whose_it_is_and_the_fingerprint_in_groups(
    event: NewDevice | KeyChanged | KeyReuse | TrustChanged,
) -> None:
    text = told_alarm(event)

    assert BOB in text
    assert " ".join(["0123abcd"] * 8) in text


def test_a_new_device_comes_with_the_line_to_type() -> None:
    assert f"xmpp-onion trust verify {BOB} {DIGITS}" in told_alarm(NEW)


@pytest.mark.usefixtures("account")
def test_a_label_that_is_too_long_is_wrong_usage_before_anybody_logs_in(
    command: "Command",
) -> None:
    done = command("devices", "label", "x" * 54, "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (2, 2)
    assert "53" in str(line["why"])
    assert done.err == ""
