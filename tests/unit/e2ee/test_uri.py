"""``xmpp:`` URIs that carry fingerprints."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.e2ee.uri import TrustUri, check_scan
from xmpp_onion.errors import AddressError, FingerprintMismatchError
from xmpp_onion.testing.omemo_peer import OmemoPeers

ONION = OnionAddress.from_public_key(hashlib.sha256(b"x").digest())
BOB = JID(f"bob@{ONION}")
ONE, TWO = "1a" * 32, "2b" * 32


def device(number: int, fingerprint: str, *, active: bool = True) -> Device:
    level = TrustLevel.TRUSTED
    return Device(BOB, number, fingerprint, level, active=active, own=False)


def test_what_is_written_is_what_conversations_reads() -> None:
    uri = TrustUri.of(
        BOB, [device(7, TWO), device(3, ONE), device(9, TWO, active=False)]
    )

    assert str(uri) == f"xmpp:bob@{ONION}?omemo-sid-3={ONE};omemo-sid-7={TWO}"
    assert TrustUri.parse(str(uri)) == uri


def test_a_name_with_special_letters_survives() -> None:
    uri = TrustUri(JID(f"b?o;b=%ü@{ONION}"), ((1, ONE),))

    assert TrustUri.parse(str(uri)) == uri
    assert str(uri).isascii()


@pytest.mark.parametrize(
    "text",
    [
        f"xmpp:bob@{ONION}?omemo-sid-1={ONE}",
        f"  XMPP:BOB@{ONION.upper()}?OMEMO-SID-1={ONE.upper()}\n",
        f"xmpp:bob@{ONION}?message;omemo-sid-1={ONE};name=Bob;omemo-sid=7",
        f"xmpp:bob%40{ONION}?omemo-sid-1={ONE};omemo-sid-1={ONE}",
    ],
)
def test_other_parameters_and_spellings_do_not_matter(text: str) -> None:
    assert TrustUri.parse(text) == TrustUri(BOB, ((1, ONE),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"https://bob@{ONION}?omemo-sid-1={ONE}",
        f"xmpp:bob@{ONION}",
        f"xmpp:bob@{ONION}?message",
        f"xmpp:bob@example.org?omemo-sid-1={ONE}",
        f"xmpp:{ONION}?omemo-sid-1={ONE}",
        f"xmpp:bob@{ONION}/phone?omemo-sid-1={ONE}",
        f"xmpp://me@{ONION}/bob@{ONION}?omemo-sid-1={ONE}",
        f"xmpp:bob@{ONION}?omemo-sid-1={ONE[:-1]}",
        f"xmpp:bob@{ONION}?omemo-sid-1=05{ONE}",
        f"xmpp:bob@{ONION}?omemo-sid-0={ONE}",
        f"xmpp:bob@{ONION}?omemo-sid-{2**31}={ONE}",
        f"xmpp:bob@{ONION}?omemo-sid-1={ONE};omemo-sid-1={TWO}",
        f"xmpp:bob@{ONION}?omemo-sid-1={ONE}#fragment",
        f"xmpp:bob@{ONION}?" + ";".join(f"omemo-sid-{i}={ONE}" for i in range(1, 34)),
        f"xmpp:bob@{ONION}?omemo-sid-1={ONE};" + "x" * 9000,
    ],
)
def test_what_is_no_such_uri_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="not a URI with fingerprints"):
        TrustUri.parse(text)


@given(st.text(max_size=300) | st.from_regex(r"xmpp:.*\?omemo-sid-[0-9]*=.*"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(AddressError):
        TrustUri.parse(text)


# --- what is known already ----------------------------------------------------------

CAROL = JID(f"carol@{ONION}")


@pytest.mark.parametrize(
    ("scanned", "why"),
    [
        ({1: TWO}, "device 1 shows us another key"),
        ({3: ONE}, "device 1 shows us another key"),
        ({1: ONE, 2: ONE}, "device 1 shows us another key"),
        ({2: TWO}, "device 2 was distrusted before"),
        ({1: ONE, 9: "3c" * 32}, "belongs to another account"),
    ],
)
def test_a_scan_that_contradicts_what_is_known_is_an_alarm(
    scanned: dict[int, str], why: str
) -> None:
    distrusted = TrustLevel.DISTRUSTED
    known = [
        Device(BOB, 1, ONE, TrustLevel.TRUSTED, active=True, own=False),
        Device(BOB, 2, TWO, distrusted, active=True, own=False),
    ]
    owners = {ONE: BOB, TWO: BOB, "3c" * 32: CAROL}

    with pytest.raises(FingerprintMismatchError, match="ALARM") as caught:
        check_scan(TrustUri(BOB, tuple(scanned.items())), known, owners)

    assert why in caught.value.why


@pytest.mark.parametrize(
    "level", [TrustLevel.BLINDLY_TRUSTED, TrustLevel.UNDECIDED, TrustLevel.DISTRUSTED]
)
def test_a_scan_counts_more_than_a_key_that_nobody_verified(level: TrustLevel) -> None:
    known = [Device(BOB, 1, ONE, level, active=True, own=False)]

    check_scan(TrustUri(BOB, ((1, TWO),)), known, {ONE: BOB})


def test_a_scan_of_what_is_known_or_new_is_none() -> None:
    scanned = TrustUri(BOB, ((1, ONE), (5, "4d" * 32)))

    check_scan(scanned, [device(1, ONE), device(2, TWO)], {ONE: BOB})


async def test_a_uri_names_the_key_that_others_see_in_either_version(
    peers: OmemoPeers,
) -> None:
    alice, bob = await peers.add("alice"), await peers.add("bob")
    async with bob.database.transaction():
        shown = TrustUri.of(bob.jid, [await bob.omemo.this_device()])
    (seen,) = await alice.devices(bob)

    assert TrustUri.parse(str(shown)).fingerprints == (
        (seen.device_id, seen.fingerprint),
    )
