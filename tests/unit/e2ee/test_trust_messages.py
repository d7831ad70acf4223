"""Automatic trust messages: pure functions of values."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

import pytest
import xeddsa
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.e2ee.trust import Device, TrustLevel
from xmpp_onion.e2ee.trust_messages import (
    WORDS_IN_A_LETTER,
    Change,
    Heard,
    Letter,
    Settled,
    Word,
    believable,
    bounded,
    letters,
    passed_on,
    read,
    settle,
    write,
)

ONION = OnionAddress.from_public_key(hashlib.sha256(b"x").digest())
ALICE, BOB, CAROL = (JID(f"{name}@{ONION}") for name in ("alice", "bob", "carol"))
TRUSTED, DISTRUSTED = TrustLevel.TRUSTED, TrustLevel.DISTRUSTED
UNDECIDED, BLIND = TrustLevel.UNDECIDED, TrustLevel.BLINDLY_TRUSTED


def key(name: str) -> bytes:
    return xeddsa.seed_to_ed25519_pub(hashlib.sha256(name.encode()).digest())


def print_of(name: str) -> str:
    return xeddsa.ed25519_pub_to_curve25519_pub(key(name)).hex()


OWNERS = {"a": ALICE, "b": BOB, "c": CAROL}


def device(name: str, level: TrustLevel = TRUSTED) -> Device:
    """The device ``a1`` is Alice's first; Alice is us."""
    owner = OWNERS[name[0]]
    return Device(
        owner, int(name[1:]), print_of(name), level, active=True, own=owner == ALICE
    )


def word(name: str, *, is_trusted: bool = True) -> Word:
    return Word(OWNERS[name[0]], print_of(name), is_trusted)


def heard(speaker: str, about: str, *, is_trusted: bool = True) -> Heard:
    owner = OWNERS[speaker[0]]
    return Heard(owner, print_of(speaker), word(about, is_trusted=is_trusted))


def settled(waiting: Sequence[Heard], levels: Mapping[str, TrustLevel]) -> Settled:
    table = {(OWNERS[name[0]], print_of(name)): level for name, level in levels.items()}
    return settle(waiting, lambda owner, digits: table.get((owner, digits)))


def change(name: str, level: TrustLevel, by: JID) -> Change:
    return Change(OWNERS[name[0]], print_of(name), level, by)


# --- on the wire --------------------------------------------------------------------

GOOD = base64.b64encode(key("b1")).decode()


def parsed(
    inside: str,
    tm: str = "urn:xmpp:tm:1",
    usage: str = "urn:xmpp:atm:1",
    encryption: str = "urn:xmpp:omemo:2",
    name: str = "trust-message",
) -> ET.Element:
    attributes = f"xmlns='{tm}' usage='{usage}' encryption='{encryption}'"
    return ET.fromstring(f"<{name} {attributes}>{inside}</{name}>")  # noqa: S314 - the test's own text


def test_what_is_written_is_read_again() -> None:
    words = (word("a1"), word("b1"), word("b2", is_trusted=False))

    element = write(words, {print_of(n): key(n) for n in ("a1", "b1", "b2")})

    assert element is not None
    assert read([element]) == words


def test_keys_travel_in_the_ed25519_form_in_base64() -> None:
    element = write([word("b1")], {print_of("b1"): key("b1")})

    assert element is not None
    assert element.attrib == {
        "usage": "urn:xmpp:atm:1",
        "encryption": "urn:xmpp:omemo:2",
    }
    said = element.find("{urn:xmpp:tm:1}key-owner/{urn:xmpp:tm:1}trust")
    assert said is not None
    assert said.text == base64.b64encode(key("b1")).decode()


def test_a_key_that_is_not_known_in_that_form_is_left_out() -> None:
    assert write([word("b1")], {}) is None


@pytest.mark.parametrize(
    "how",
    [
        {"tm": "urn:xmpp:tm:0"},
        {"usage": "urn:xmpp:other"},
        {"encryption": "eu.siacs.conversations.axolotl"},
        {"name": "other"},
    ],
)
def test_another_purpose_or_version_says_nothing(how: dict[str, str]) -> None:
    inside = f"<key-owner jid='{BOB}'><trust>{GOOD}</trust></key-owner>"

    assert read([parsed(inside)]) == (word("b1"),)
    assert read([parsed(inside, **how)]) == ()


@pytest.mark.parametrize(
    ("jid", "text"),
    [
        ("", "ok"),
        ("bob@example.org", "ok"),
        (str(BOB), ""),
        (str(BOB), "not base64!"),
        (str(BOB), "AAAA"),
        (str(BOB), base64.b64encode(b"x" * 33).decode()),
    ],
)
def test_a_malformed_part_is_left_out_and_the_rest_is_read(jid: str, text: str) -> None:
    said = GOOD if text == "ok" else text
    inside = (
        f"<key-owner jid='{jid}'><trust>{said}</trust></key-owner>"
        f"<key-owner jid='{BOB}'><junk/><trust>{GOOD}</trust></key-owner>"
    )

    assert read([parsed(inside)]) == (word("b1"),)


def test_no_more_than_a_hundred_words_are_read() -> None:
    element = write([word("b1")], {print_of("b1"): key("b1")})
    assert element is not None
    owner = element[0]
    for _ in range(1000):
        owner.append(owner[0])

    assert len(read([element, element])) == 100


# --- hearing ------------------------------------------------------------------------


def test_a_contact_speaks_for_himself_and_our_own_devices_for_everybody() -> None:
    words = [word("a2"), word("b2"), word("c1")]

    def heard_of(sender: JID) -> tuple[Word, ...]:
        return believable(words, sender, own=ALICE, own_fingerprint=print_of("a1"))

    assert heard_of(BOB) == (word("b2"),)
    assert heard_of(ALICE) == tuple(words)


def test_nobody_says_anything_about_this_very_device() -> None:
    words = [word("a1", is_trusted=False)]

    assert believable(words, ALICE, own=ALICE, own_fingerprint=print_of("a1")) == ()


@pytest.mark.parametrize("level", [UNDECIDED, BLIND])
def test_the_word_of_a_device_that_nobody_verified_waits(level: TrustLevel) -> None:
    waiting = [heard("b1", "b2")]

    assert settled(waiting, {"b1": level, "b2": UNDECIDED}) == Settled(
        (), tuple(waiting)
    )


def test_the_word_of_a_verified_device_counts_and_is_done() -> None:
    done = settled([heard("b1", "b2")], {"b1": TRUSTED, "b2": UNDECIDED})

    assert done == Settled((change("b2", TRUSTED, BOB),), ())


def test_the_word_of_a_distrusted_device_is_forgotten() -> None:
    done = settled([heard("b1", "b2")], {"b1": DISTRUSTED, "b2": UNDECIDED})

    assert done == Settled((), ())


def test_a_word_on_a_key_that_is_not_known_yet_waits() -> None:
    waiting = [heard("b1", "b2")]

    assert settled(waiting, {"b1": TRUSTED}) == Settled((), tuple(waiting))


def test_one_word_sets_others_free() -> None:
    waiting = [heard("b2", "b3"), heard("b1", "b2")]

    done = settled(waiting, {"b1": TRUSTED, "b2": UNDECIDED, "b3": BLIND})

    assert done.changes == (change("b2", TRUSTED, BOB), change("b3", TRUSTED, BOB))


def test_a_distrust_counts_more_than_a_trust_in_either_order() -> None:
    trust, distrust = heard("b1", "b3"), heard("b2", "b3", is_trusted=False)
    levels = {"b1": TRUSTED, "b2": TRUSTED, "b3": UNDECIDED}

    for waiting in ([trust, distrust], [distrust, trust]):
        assert settled(waiting, levels) == Settled((change("b3", DISTRUSTED, BOB),), ())


def test_a_trust_does_not_undo_a_distrust_and_a_distrust_undoes_a_trust() -> None:
    trust = settled([heard("b1", "b2")], {"b1": TRUSTED, "b2": DISTRUSTED})
    distrust = settled(
        [heard("b1", "b2", is_trusted=False)], {"b1": TRUSTED, "b2": TRUSTED}
    )

    assert trust == Settled((), ())
    assert distrust == Settled((change("b2", DISTRUSTED, BOB),), ())


def test_who_is_distrusted_meanwhile_vouches_for_nobody() -> None:
    waiting = [heard("b2", "b3"), heard("b1", "b2", is_trusted=False)]

    done = settled(waiting, {"b1": TRUSTED, "b2": TRUSTED, "b3": UNDECIDED})

    assert done == Settled((change("b2", DISTRUSTED, BOB),), ())


def test_the_newest_word_on_a_matter_is_the_one_that_waits() -> None:
    first, second = heard("b1", "b2"), heard("b1", "b2", is_trusted=False)

    assert bounded([first, second]) == (second,)


def test_a_crowd_of_words_does_not_push_out_the_few_of_somebody_else() -> None:
    few = heard("b1", "b2")
    crowd = [
        Heard(CAROL, print_of("c1"), Word(CAROL, f"{number:064x}", is_trusted=True))
        for number in range(5000)
    ]

    kept = bounded([few, *crowd])

    assert few in kept
    assert len(kept) == 101
    assert kept[-1] == crowd[-1]


def test_many_who_say_little_are_bounded_too() -> None:
    crowd = [
        Heard(JID(f"x{number}@{ONION}"), "0" * 64, word("c1")) for number in range(1100)
    ]

    assert len(bounded(crowd)) == 1000


_NAMES = st.sampled_from(["a2", "b1", "b2", "b3", "c1"])


@given(
    st.lists(st.builds(heard, _NAMES, _NAMES, is_trusted=st.booleans()), max_size=12),
    st.dictionaries(_NAMES, st.sampled_from(list(TrustLevel))),
)
def test_nothing_changes_without_a_verified_device_and_nothing_is_trusted_twice(
    waiting: list[Heard], levels: dict[str, TrustLevel]
) -> None:
    done = settled(waiting, levels)

    if TRUSTED not in levels.values():
        assert done.changes == ()
    final: dict[str, TrustLevel] = {}
    for one in done.changes:
        assert final.get(one.fingerprint) is not DISTRUSTED
        final[one.fingerprint] = one.level
    assert set(done.waiting) <= set(waiting)


# --- telling ------------------------------------------------------------------------


def test_a_contact_that_is_verified_learns_our_devices_and_they_learn_his() -> None:
    verified = [device("a2"), device("a3"), device("b1"), device("c1")]

    assert letters(device("b1"), verified, own=ALICE) == (
        Letter(ALICE, (word("b1"),)),
        Letter(BOB, (word("a2"), word("a3"))),
    )


def test_a_device_of_ours_is_told_to_all_and_learns_all() -> None:
    verified = [device("a2"), device("b1"), device("c1"), device("a3")]

    assert letters(device("a3"), verified, own=ALICE) == (
        Letter(ALICE, (word("a3"), word("a2"), word("b1"), word("c1"))),
        Letter(BOB, (word("a3"),)),
        Letter(CAROL, (word("a3"),)),
    )


def test_a_distrust_of_a_contact_is_for_our_own_devices_alone() -> None:
    said = word("b1", is_trusted=False)

    assert letters(
        device("b1", DISTRUSTED), [device("a2"), device("b2")], own=ALICE
    ) == (Letter(ALICE, (said,)),)


def test_a_distrust_of_our_own_device_is_for_all_who_are_verified() -> None:
    said = word("a3", is_trusted=False)

    assert letters(
        device("a3", DISTRUSTED), [device("a2"), device("b1")], own=ALICE
    ) == (Letter(ALICE, (said,)), Letter(BOB, (said,)))


@pytest.mark.parametrize("level", [UNDECIDED, BLIND])
def test_what_no_person_decided_is_told_to_nobody(level: TrustLevel) -> None:
    assert letters(device("b1", level), [device("a2")], own=ALICE) == ()


def test_who_has_nobody_verified_tells_nobody() -> None:
    assert letters(device("b1"), [device("b1")], own=ALICE) == ()


def test_a_long_letter_is_divided() -> None:
    verified = [device("a3"), *(device(f"b{number}") for number in range(1, 101))]

    to_us = [
        one for one in letters(device("a3"), verified, own=ALICE) if one.to == ALICE
    ]

    assert [len(one.words) for one in to_us] == [
        WORDS_IN_A_LETTER,
        101 - WORDS_IN_A_LETTER,
    ]


def test_what_a_contact_says_of_his_devices_is_passed_on_to_ours_once() -> None:
    changes = [
        change("b2", TRUSTED, BOB),
        change("b3", DISTRUSTED, BOB),
        change("c1", TRUSTED, ALICE),  # ours said it: they know
        change("a3", TRUSTED, ALICE),
    ]

    letter = passed_on(changes, own=ALICE)

    assert letter == Letter(ALICE, (word("b2"), word("b3", is_trusted=False)))
    assert passed_on(changes[2:], own=ALICE) is None
