"""Decisions about devices as text."""

import hashlib

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.e2ee.trust_text import Entry, entries_of, read_entries
from xmpp_onion.errors import AddressError

ONION = OnionAddress.from_public_key(hashlib.sha256(b"x").digest())
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
ONE, TWO = "1a" * 32, "2b" * 32


def device(jid: JID, fingerprint: str, trust: TrustLevel) -> Device:
    return Device(jid, 1, fingerprint, trust, active=True, own=False)


def test_decisions_of_people_are_written_in_a_stable_order() -> None:
    devices = [
        device(BOB, TWO, TrustLevel.TRUSTED),
        device(BOB, ONE, TrustLevel.DISTRUSTED),
        device(ALICE, ONE, TrustLevel.TRUSTED),
        device(ALICE, TWO, TrustLevel.BLINDLY_TRUSTED),
        device(ALICE, "3c" * 32, TrustLevel.UNDECIDED),
    ]

    entries = entries_of(devices)

    assert entries == entries_of(reversed(devices))
    assert [str(entry) for entry in entries] == [
        f"{ALICE} {ONE} verified",
        f"{BOB} {ONE} distrusted",
        f"{BOB} {TWO} verified",
    ]
    assert read_entries("\n".join(str(entry) for entry in entries)) == entries


def test_comments_empty_lines_groups_and_repetitions_do_not_matter() -> None:
    groups = " ".join(["1A1A1A1A"] * 8)
    text = f"# ours\n\n{BOB} {groups} verified # his phone\r\n{BOB} {ONE} verified"

    assert read_entries(text) == (Entry(BOB, ONE, TrustLevel.TRUSTED),)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"{BOB}", "line 2 does not have three words"),
        (f"{BOB} {ONE}", "line 2 does not have three words"),
        (f"bob@example.org {ONE} verified", "line 2: its server"),
        (f"{ONION} {ONE} verified", "line 2 is no decision"),
        (f"{BOB} {ONE[:-1]} verified", "line 2: it must have 64 hex digits"),
        (f"{BOB} {ONE} tofu", "line 2 is no decision"),
        (f"{BOB} {ONE} perhaps", "line 2: 'perhaps' is unknown"),
        (f"{BOB} {TWO} distrusted", "line 2 says the opposite"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, why: str) -> None:
    with pytest.raises(AddressError) as caught:
        read_entries(f"{BOB} {TWO} verified\n{line}\n")

    assert caught.value.why.startswith(why)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(AddressError, match="too long"):
        read_entries("#" * 5_000_000)
