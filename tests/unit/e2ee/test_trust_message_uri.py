"""Trust messages as URIs: read as XEP-0434 says, or not at all."""

import base64
import contextlib
import hashlib
from urllib.parse import quote

import pytest
import xeddsa
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.e2ee.trust_message_uri import is_trust_message, read_trust_message
from xmpp_onion.e2ee.trust_messages import Word
from xmpp_onion.e2ee.trust_text import Entry, entries_in, read_entries
from xmpp_onion.e2ee.uri import check_words
from xmpp_onion.errors import AddressError, FingerprintMismatchError

ONION = OnionAddress.from_public_key(hashlib.sha256(b"x").digest())
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
NEW, OLD = "urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl"
START = f"xmpp:bob@{ONION}?trust-message;encryption="


def key(number: int) -> tuple[bytes, str]:
    """Return a key in Ed25519 form, and its fingerprint."""
    public = xeddsa.priv_to_ed25519_pub(bytes([number]) * 32)
    return public, xeddsa.ed25519_pub_to_curve25519_pub(public).hex()


ONE, TWO = key(1), key(2)
ONE_HEX, TWO_HEX = ONE[0].hex(), TWO[0].hex()


def test_keys_are_those_of_trust_messages_in_hex_or_base64() -> None:
    text = base64.b64encode(TWO[0]).decode()
    expected = (Word(BOB, ONE[1], is_trusted=True), Word(BOB, TWO[1], is_trusted=False))

    for written in (TWO_HEX, TWO_HEX.upper(), text, quote(text, safe="")):
        uri = f"{START}{NEW};trust={ONE_HEX};distrust={written}"
        assert read_trust_message(uri) == expected


def test_keys_of_the_older_version_are_fingerprints_already() -> None:
    [word] = read_trust_message(f"{START}{OLD};trust={ONE[1]}")

    assert word == Word(BOB, ONE[1], is_trusted=True)


def test_names_may_be_escaped_and_in_any_case() -> None:
    uri = (
        f"XMPP:bob%40{ONION}?Trust-Message;Encryption=urn%3Axmpp%3Aomemo%3A2"
        f";TRUST={ONE_HEX};trust={ONE_HEX} "
    )

    assert read_trust_message(uri) == (Word(BOB, ONE[1], is_trusted=True),)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(f"{START}{NEW}", id="no key"),
        pytest.param(f"{START}{NEW};", id="an empty pair"),
        pytest.param(f"{START}urn:xmpp:openpgp:0;trust={ONE_HEX}", id="no OMEMO"),
        pytest.param(
            f"xmpp:bob@{ONION}?trust-message;trust={ONE_HEX}", id="no encryption"
        ),
        pytest.param(
            f"xmpp:bob@{ONION}?trust-message;trust={ONE_HEX};encryption={NEW}",
            id="encryption not first",
        ),
        pytest.param(f"{START}{NEW};encryption={NEW};trust={ONE_HEX}", id="twice"),
        pytest.param(f"{START}{NEW};trust={ONE_HEX[:-1]}", id="a short key"),
        pytest.param(f"{START}{NEW};trust={ONE_HEX}00", id="a long key"),
        pytest.param(f"{START}{OLD};trust=AAAA", id="a short key of the older"),
        pytest.param(f"{START}{NEW};trust=", id="an empty key"),
        pytest.param(f"{START}{NEW};trust=%C3%A9", id="no ASCII"),
        pytest.param(f"{START}{NEW};believe={ONE_HEX}", id="another word"),
        pytest.param(
            f"{START}{NEW};trust={ONE_HEX};distrust={ONE_HEX}", id="two words on one"
        ),
        pytest.param(
            f"{START}{OLD};" + ";".join(f"trust={n:064x}" for n in range(65)),
            id="too many",
        ),
        pytest.param(f"{START}{NEW};trust={ONE_HEX}" + " " * 9000, id="too long"),
        pytest.param(START.replace(f"bob@{ONION}", "bob@example.org"), id="no onion"),
        pytest.param(
            f"xmpp:{ONION}?trust-message;encryption={NEW};trust={ONE_HEX}",
            id="a server",
        ),
        pytest.param(
            f"xmpp:bob@{ONION}?omemo-sid-1={ONE[1]}", id="a URI of another kind"
        ),
    ],
)
def test_what_is_not_wholly_understood_says_nothing(text: str) -> None:
    with pytest.raises(AddressError):
        read_trust_message(text)


@given(st.text(max_size=300) | st.from_regex(r"xmpp:.*\?trust-message;.*=.*"))
def test_no_text_breaks_the_reader(text: str) -> None:
    is_trust_message(text)
    with contextlib.suppress(AddressError):
        read_trust_message(text)


def test_an_import_takes_uris_among_its_lines() -> None:
    uri = f"{START}{NEW};trust={ONE_HEX};distrust={TWO_HEX}"
    expected = {
        Entry(BOB, ONE[1], TrustLevel.TRUSTED),
        Entry(BOB, TWO[1], TrustLevel.DISTRUSTED),
    }

    assert {*entries_in(uri)} == expected
    assert {*read_entries(f"# Bob\n{uri} # scanned\n")} == expected
    with pytest.raises(AddressError, match="line 2 says the opposite"):
        read_entries(f"{uri}\n{BOB} {TWO[1]} verified")
    with pytest.raises(AddressError, match="line 1: it has no key"):
        read_entries(f"{START}{NEW}")


def test_a_code_that_contradicts_what_was_verified_is_an_alarm() -> None:
    level = TrustLevel.DISTRUSTED
    known = [Device(BOB, 7, TWO[1], level, active=True, own=False)]

    check_words(BOB, {ONE[1]}, known, {ONE[1]: BOB})
    with pytest.raises(FingerprintMismatchError, match="another account"):
        check_words(BOB, {ONE[1]}, known, {ONE[1]: ALICE})
    with pytest.raises(FingerprintMismatchError, match="distrusted before"):
        check_words(BOB, {TWO[1]}, known, {})
