"""Trust policies: pure functions of values."""

import hashlib

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee.trust import (
    Device,
    Trust,
    TrustLevel,
    accepts,
    decide,
    in_force,
    parse_fingerprint,
    parse_label,
    recipients,
)
from xmpp_onion.errors import (
    EncryptionError,
    InvalidLabelError,
    NoDevicesError,
    UndecidedDevicesError,
)

BOB = JID("bob@" + OnionAddress.from_public_key(hashlib.sha256(b"x").digest()))
NOBODY: frozenset[str] = frozenset()


def device(
    number: int,
    trust: TrustLevel = TrustLevel.UNDECIDED,
    *,
    active: bool = True,
    own: bool = False,
) -> Device:
    return Device(BOB, number, f"{number:064x}", trust, active=active, own=own)


# --- words --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "policy"),
    [
        ("manual", Trust.MANUAL),
        ("firstusage", Trust.TOFU),
        ("on-first-use", Trust.TOFU),
        ("blind", Trust.BTBV),
        ("BTBV", Trust.BTBV),
        (" Pinned ", Trust.PINNED),
        ("on_first_use", Trust.TOFU),
    ],
)
def test_a_policy_is_known_by_the_words_of_other_programs(
    word: str, policy: Trust
) -> None:
    assert Trust.parse(word) is policy


def test_an_unknown_policy_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(EncryptionError, match="pinned, manual, tofu, btbv"):
        Trust.parse("always")


@pytest.mark.parametrize("level", TrustLevel)
def test_the_word_of_a_level_leads_back_to_it(level: TrustLevel) -> None:
    assert TrustLevel.from_word(level.word) is level


def test_an_unknown_word_of_a_level_is_refused() -> None:
    with pytest.raises(EncryptionError):
        TrustLevel.from_word("perhaps")


def test_a_fingerprint_may_be_grouped_and_in_capitals() -> None:
    assert parse_fingerprint("0123ABCD 89abcdef\n" * 4) == "0123abcd89abcdef" * 4


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "a" * 63, "a" * 65])
def test_part_of_a_fingerprint_is_not_enough(text: str) -> None:
    with pytest.raises(EncryptionError, match="64 hex digits"):
        parse_fingerprint(text)


# --- decide -------------------------------------------------------------------------


def test_pinned_trusts_what_is_pinned_and_nothing_else() -> None:
    pins = {device(1).fingerprint}

    assert decide(Trust.PINNED, [], device(1), pins) is TrustLevel.TRUSTED
    assert decide(Trust.PINNED, [], device(2), pins) is TrustLevel.DISTRUSTED


def test_manual_leaves_every_device_to_a_person() -> None:
    assert decide(Trust.MANUAL, [], device(1), NOBODY) is TrustLevel.UNDECIDED


def test_tofu_trusts_the_first_devices_and_asks_about_later_ones() -> None:
    first = device(1, TrustLevel.BLINDLY_TRUSTED)

    assert decide(Trust.TOFU, [], device(1), NOBODY) is TrustLevel.BLINDLY_TRUSTED
    assert decide(Trust.TOFU, [first], device(2), NOBODY) is TrustLevel.UNDECIDED


@pytest.mark.parametrize("word", [TrustLevel.TRUSTED, TrustLevel.DISTRUSTED])
def test_btbv_ends_with_the_first_decision_of_a_person(word: TrustLevel) -> None:
    blind = [device(1, TrustLevel.BLINDLY_TRUSTED), device(2)]
    decided = [*blind, device(3, word)]

    assert decide(Trust.BTBV, blind, device(4), NOBODY) is TrustLevel.BLINDLY_TRUSTED
    assert decide(Trust.BTBV, decided, device(4), NOBODY) is TrustLevel.UNDECIDED


@pytest.mark.parametrize("policy", [Trust.MANUAL, Trust.TOFU, Trust.BTBV])
def test_a_new_device_of_our_own_account_is_never_trusted_blindly(
    policy: Trust,
) -> None:
    assert decide(policy, [], device(1, own=True), NOBODY) is TrustLevel.UNDECIDED


@pytest.mark.parametrize("policy", Trust)
def test_a_pin_counts_under_every_policy(policy: Trust) -> None:
    pins = {device(1).fingerprint}

    assert decide(policy, [device(9)], device(1), pins) is TrustLevel.TRUSTED


# --- in_force -----------------------------------------------------------------------


@pytest.mark.parametrize("policy", Trust)
@pytest.mark.parametrize("word", [TrustLevel.TRUSTED, TrustLevel.DISTRUSTED])
def test_what_a_person_said_stands_under_every_policy(
    policy: Trust, word: TrustLevel
) -> None:
    assert in_force(policy, word, is_pinned=False) is word
    assert in_force(policy, word, is_pinned=True) is word


@pytest.mark.parametrize(
    ("policy", "now"),
    [
        (Trust.PINNED, TrustLevel.DISTRUSTED),
        (Trust.MANUAL, TrustLevel.UNDECIDED),
        (Trust.TOFU, TrustLevel.BLINDLY_TRUSTED),
        (Trust.BTBV, TrustLevel.BLINDLY_TRUSTED),
    ],
)
def test_blind_trust_does_not_survive_a_stricter_policy(
    policy: Trust, now: TrustLevel
) -> None:
    assert in_force(policy, TrustLevel.BLINDLY_TRUSTED, is_pinned=False) is now


# --- accepts ------------------------------------------------------------------------


@pytest.mark.parametrize("policy", Trust)
def test_every_policy_accepts_verified_devices_only_or_more(policy: Trust) -> None:
    def is_accepted(level: TrustLevel) -> bool:
        return accepts(in_force(policy, level, is_pinned=False))

    assert is_accepted(TrustLevel.TRUSTED)
    assert not is_accepted(TrustLevel.UNDECIDED)
    assert not is_accepted(TrustLevel.DISTRUSTED)
    is_blind = policy in {Trust.TOFU, Trust.BTBV}
    assert is_accepted(TrustLevel.BLINDLY_TRUSTED) == is_blind


# --- recipients ---------------------------------------------------------------------


def test_an_undecided_device_stops_everything_and_names_the_command() -> None:
    devices = [device(1, TrustLevel.TRUSTED), device(2)]

    with pytest.raises(UndecidedDevicesError) as caught:
        recipients(Trust.TOFU, BOB, devices)

    assert caught.value.jid == BOB
    assert caught.value.fingerprints == (device(2).fingerprint,)
    command = f"`xmpp-onion trust verify {BOB} {device(2).fingerprint}`"
    assert command in caught.value.fix


def test_an_undecided_device_that_is_not_listed_any_more_stops_nothing() -> None:
    trusted = device(1, TrustLevel.TRUSTED)

    assert recipients(Trust.TOFU, BOB, [trusted, device(2, active=False)]) == (trusted,)


def test_devices_that_are_not_pinned_are_left_out_while_one_is() -> None:
    pinned = device(1, TrustLevel.TRUSTED)
    other = device(2, TrustLevel.DISTRUSTED)

    assert recipients(Trust.PINNED, BOB, [pinned, other]) == (pinned,)
    with pytest.raises(UndecidedDevicesError) as caught:
        recipients(Trust.PINNED, BOB, [other])
    assert caught.value.fingerprints == (other.fingerprint,)


def test_nothing_is_sent_when_a_person_distrusts_all_devices() -> None:
    with pytest.raises(NoDevicesError, match="trust verify"):
        recipients(Trust.BTBV, BOB, [device(1, TrustLevel.DISTRUSTED)])


def test_no_devices_are_no_recipients() -> None:
    assert recipients(Trust.TOFU, BOB, []) == ()


def test_a_label_is_one_line_of_at_most_53_letters() -> None:
    assert parse_label(" my\n\tlaptop ") == "my laptop"
    assert parse_label("é" * 53) == "é" * 53
    with pytest.raises(InvalidLabelError, match="53"):
        parse_label("é" * 54)
