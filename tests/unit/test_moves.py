"""What proves that a server moved, and all that does not."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from hypothesis import given
from hypothesis import strategies as st
from xeddsa.bindings import ed25519_verify

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import InvalidMoveError
from xmpp_onion.moves import Move

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
CERTIFICATE = hashlib.sha256(b"certificate").hexdigest()
CONTEXT = b"xmpp-onion: a server has moved, version 1\n\0"


def key(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def onion(seed: str) -> OnionAddress:
    return OnionAddress.from_public_key(key(seed).public_key().public_bytes_raw())


KEYS = {onion(seed): key(seed) for seed in ("old", "new", "other")}
OLD, NEW, OTHER = KEYS


def write(
    old: OnionAddress = OLD,
    new: OnionAddress = NEW,
    *,
    at: datetime = NOW,
    signers: dict[OnionAddress, OnionAddress] | None = None,
) -> str:
    def sign(name: OnionAddress, data: bytes) -> bytes:
        return KEYS[(signers or {}).get(name, name)].sign(data)

    return Move.write(old, new, at=at, certificate=CERTIFICATE, sign=sign).document


def signed(body: bytes, *, context: bytes = CONTEXT) -> str:
    """Return any text as both would sign it."""
    signatures = b"".join(KEYS[name].sign(context + body) for name in (OLD, NEW))
    return base64.b64encode(signatures + body).decode()


def said(**changes: object) -> bytes:
    values = {
        "v": 1,
        "old": OLD,
        "new": NEW,
        "at": "2026-11-26T12:00:00Z",
        "certificate": CERTIFICATE,
    } | changes
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def refused(document: str, *, old: OnionAddress = OLD, now: datetime = NOW) -> str:
    with pytest.raises(InvalidMoveError) as caught:
        Move.read(document, old=old, now=now)
    return caught.value.why


def test_a_move_says_who_went_where_and_when() -> None:
    move = Move.read(write(), old=OLD, now=NOW)

    assert (move.old, move.new, move.at) == (OLD, NEW, NOW)
    assert move.certificate == CERTIFICATE
    assert signed(said()) == move.document


def test_both_names_signed_it_as_another_library_judges() -> None:
    data = base64.b64decode(write())

    for name, signature in ((OLD, data[:64]), (NEW, data[64:128])):
        assert ed25519_verify(signature, name.public_key, CONTEXT + data[128:])
        Ed25519PublicKey.from_public_bytes(name.public_key).verify(
            signature, CONTEXT + data[128:]
        )
        with pytest.raises(InvalidSignature):  # without the words that keep it apart
            Ed25519PublicKey.from_public_bytes(name.public_key).verify(
                signature, data[128:]
            )


def test_what_the_old_name_did_not_sign_moves_nobody() -> None:
    document = write(signers={OLD: OTHER})

    assert refused(document) == f"{OLD.short} did not sign it"


def test_nobody_is_moved_to_a_name_that_did_not_sign_it() -> None:
    document = write(signers={NEW: OLD})

    assert refused(document) == f"{NEW.short} did not sign it"


def test_a_signature_for_something_else_does_not_count() -> None:
    assert refused(signed(said(), context=b"")) == f"{OLD.short} did not sign it"


def test_the_move_of_another_server_is_not_ours() -> None:
    assert refused(write(OTHER, NEW)) == "it is about another server"


def test_a_move_of_the_future_would_outlive_each_later_one() -> None:
    in_time = write(at=NOW + timedelta(hours=23))
    too_late = write(at=NOW + timedelta(days=2))

    assert Move.read(in_time, old=OLD, now=NOW).new == NEW
    assert refused(too_late) == "it was signed in the future"


@pytest.mark.parametrize(
    "body",
    [
        said(new=OLD),
        said(new=f"muc.{NEW}"),
        said(old=f"muc.{OLD}"),
    ],
    ids=["to itself", "to a sub-domain", "from a sub-domain"],
)
def test_a_move_that_leads_nowhere_is_refused(body: bytes) -> None:
    assert refused(signed(body)) == "it leads nowhere"


@pytest.mark.parametrize(
    "body",
    [
        said(more=1),
        said(v=2),
        said(certificate="no hash"),
        said(certificate=CERTIFICATE.upper()),
        said(new=NEW.upper()),
        said() + b" ",
        json.dumps(json.loads(said())).encode(),
    ],
    ids=["more", "version", "hash", "case of it", "case", "space", "order"],
)
def test_there_is_one_form_alone(body: bytes) -> None:
    assert refused(signed(body)) == "it is not in the one form that it has to have"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"1", said(new="example.org"), said(at="now"), said(at=1), b"\xff"],
)
def test_what_says_nothing_is_refused(body: bytes) -> None:
    assert refused(signed(body)) == "it does not say who went where"


@pytest.mark.parametrize("document", ["", "=", "aGk", "é", write() + "A", "a b"])
def test_what_is_no_document_is_refused(document: str) -> None:
    refused(document)


def test_nothing_long_is_looked_at() -> None:
    assert refused("A" * 1025) == "it is too long"
    assert len(write()) <= 1024 - 256


@given(st.integers(0, 8 * 500), st.data())
def test_each_bit_counts(position: int, data: st.DataObject) -> None:
    raw = bytearray(base64.b64decode(write()))
    index = data.draw(st.integers(0, len(raw) - 1)) if position else 0
    raw[index] ^= 1 << data.draw(st.integers(0, 7))

    refused(base64.b64encode(raw).decode())


@given(st.text(max_size=1200))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    refused(text)


def test_people_rooms_and_servers_are_renamed_and_others_are_not() -> None:
    move = Move.read(write(), old=OLD, now=NOW)

    assert move.rename(JID(f"alice@{OLD}/phone")) == f"alice@{NEW}/phone"
    assert move.rename(JID(f"friends@muc.{OLD}")) == f"friends@muc.{NEW}"
    assert move.rename(JID(f"carol@{OTHER}")) == f"carol@{OTHER}"
    assert move.rename_text(f"<a to='x@{OLD}'>") == f"<a to='x@{NEW}'>"
