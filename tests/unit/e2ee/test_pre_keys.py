"""Which pre-keys are offered, which are used, and until when they serve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from x3dh.models import SignedPreKeyPairModel

from xmpp_onion.e2ee.pre_keys import (
    MOST_USED,
    OFFERED,
    SERVES_FOR,
    PreKeys,
    SignedPreKey,
)

SIGNED = SignedPreKey(
    7, SignedPreKeyPairModel(priv=b"a" * 32, sig=b"b" * 64, timestamp=5), b"c" * 32
)


def pre_keys(count: int) -> PreKeys:
    keys = PreKeys(SIGNED)
    keys.generate(count)
    return keys


def test_a_used_pre_key_is_not_offered_but_found() -> None:
    keys = pre_keys(3)
    pub, key = next(iter(keys.offered.items()))

    assert keys.use(pub, b"e" * 32)
    assert not keys.use(pub, b"f" * 32)
    assert pub not in keys.offered
    found = keys.find(key.number)
    assert found
    assert found.priv == key.priv
    assert found.begun == (b"e" * 32, b"f" * 32)


def test_a_used_pre_key_ages_from_when_a_bundle_without_it_was_published() -> None:
    keys = pre_keys(3)
    pub = next(iter(keys.offered))
    before = list(keys.offered)
    keys.use(pub)

    assert not keys.expire(10**9)
    assert not keys.note_published(before, 1000)
    assert keys.note_published(keys.offered, 2000)
    assert not keys.note_published(keys.offered, 3000)
    assert not keys.expire(2000 + SERVES_FOR)
    assert keys.expire(2001 + SERVES_FOR)
    assert not keys.used


def test_no_more_used_ones_are_kept_than_there_is_room_for() -> None:
    keys = pre_keys(MOST_USED + 2)
    pubs = list(keys.offered)

    for pub in pubs:
        keys.use(pub)

    assert list(keys.used) == pubs[2:]


def test_no_number_is_given_twice() -> None:
    keys = pre_keys(3)
    numbers = {key.number for key in keys.offered.values()}
    for pub in list(keys.offered):
        keys.use(pub)
    keys.note_published([], 0)
    keys.expire(10**9)
    keys = PreKeys.read(keys.write())
    keys.generate(3)

    assert numbers.isdisjoint(key.number for key in keys.offered.values())


@given(
    count=st.integers(0, 5),
    used=st.lists(st.tuples(st.integers(0, 4), st.binary(min_size=32, max_size=32))),
    published=st.none() | st.integers(0, 2**40),
    old=st.booleans(),
)
def test_what_is_written_is_read(
    count: int,
    used: list[tuple[int, bytes]],
    published: int | None,
    old: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    keys = pre_keys(count)
    keys.old = SIGNED if old else None
    pubs = list(keys.offered)
    for index, ephemeral_key in used:
        if index < count:
            keys.use(pubs[index], ephemeral_key)
    if published is not None:
        keys.note_published([], published)

    assert PreKeys.read(keys.write()) == keys


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"signed":"1"}'])
def test_what_is_damaged_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        PreKeys.read(text)


def test_secret_keys_do_not_show() -> None:
    keys = pre_keys(1)
    (key,) = keys.offered.values()

    assert "priv" not in repr(key)
    assert "a" * 32 not in repr(SIGNED)


def test_as_many_are_offered_as_should_be_and_none_of_more_is_taken_away() -> None:
    few, many = pre_keys(3), pre_keys(100)

    few.fill_up()
    many.fill_up()

    assert len(few.offered) == OFFERED
    assert len(many.offered) == 100
