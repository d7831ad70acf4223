"""The encrypted file of a backup, as a stream."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.errors import ServerError, StoreKeyError
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.sealed import SealedReader, SealedWriter

SECRET = Secret(Kind.KEY_FILE, bytes(32))  # a passphrase takes its time
CHUNK = 64 * 1024


def written(content: bytes, *, step: int = 10_000) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, SECRET)
    for start in range(0, len(content), step):
        writer.write(content[start : start + step])
    writer.finish()
    return file.getvalue()


def read(data: bytes, secret: Secret = SECRET) -> bytes:
    reader = SealedReader(io.BytesIO(data), lambda _kind: secret)
    parts = list(iter(lambda: reader.read(7000), b""))
    reader.finish()
    return b"".join(parts)


LONG = bytes(range(256)) * (CHUNK // 256) * 3
SEALED = written(LONG)


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK]
)
def test_what_is_written_is_read(size: int) -> None:
    assert read(written(LONG[:size])) == LONG[:size]


def test_nothing_of_the_content_can_be_seen() -> None:
    assert LONG[:32] not in SEALED


def test_two_files_of_one_content_have_no_chunk_in_common() -> None:
    assert written(LONG)[-CHUNK:] != SEALED[-CHUNK:]


def test_another_secret_opens_nothing() -> None:
    with pytest.raises(StoreKeyError, match="key-file is wrong"):
        read(SEALED, Secret(Kind.KEY_FILE, bytes(33)))


@given(place=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7))
def test_a_bit_that_became_another_is_noticed(place: int, bit: int) -> None:
    data = bytearray(SEALED)
    data[place] ^= 1 << bit

    with pytest.raises((ServerError, StoreKeyError)):
        read(bytes(data))


@given(length=st.integers(0, len(SEALED) - 1))
def test_a_file_that_was_cut_off_is_noticed(length: int) -> None:
    with pytest.raises(ServerError):
        read(SEALED[:length])


def test_a_file_that_was_cut_off_between_two_chunks_is_noticed() -> None:
    with pytest.raises(ServerError, match="part 1"):
        read(SEALED[: -CHUNK - 16])


def test_chunks_that_changed_places_are_noticed() -> None:
    start = len(SEALED) - 3 * (CHUNK + 16)
    first, second = (
        SEALED[start + number * (CHUNK + 16) :][: CHUNK + 16] for number in (0, 1)
    )

    with pytest.raises(ServerError, match="part 0"):
        read(SEALED[:start] + second + first + SEALED[start + 2 * (CHUNK + 16) :])


def test_what_was_added_at_the_end_is_noticed() -> None:
    with pytest.raises(ServerError):
        read(SEALED + b"more")


def test_a_file_of_a_newer_version_is_told_apart() -> None:
    with pytest.raises(ServerError, match="newer"):
        read(SEALED.replace(b"backup 1", b"backup 2", 1))


def test_a_header_that_asks_for_a_terabyte_of_memory_is_refused() -> None:
    data = SEALED.replace(b'"memory_kib": 65536', b'"memory_kib": 999999999', 1)

    with pytest.raises(ServerError, match="beginning"):
        read(data)
