"""H5 and H6: what others decrypt, what we refuse, and no nonce twice."""

import io
import secrets
import struct
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.errors import FileDamagedError
from xmpp_onion.files.cipher import CHUNK_OVERHEAD, ChunkCipher, decrypt, encrypt

SIZES = [0, 1, 4095, 4096, 4097, 8192, 256 * 1024, 1024 * 1024, 1024 * 1024 + 1]
KEY, IV = bytes(range(32)), bytes(range(12))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("iv", [IV, bytes(range(16))], ids=["12", "16"])
def test_every_size_is_what_the_library_makes_in_one_piece(
    size: int, iv: bytes
) -> None:
    data = secrets.token_bytes(size)

    sealed = b"".join(encrypt([data[:100], data[100:]], KEY, iv))

    assert sealed == AESGCM(KEY).encrypt(iv, data, None)
    assert b"".join(decrypt(io.BytesIO(sealed), len(sealed), KEY, iv)) == data


@given(st.binary(max_size=500), st.data())
def test_no_byte_can_be_changed(data: bytes, draw: st.DataObject) -> None:
    sealed = bytearray(b"".join(encrypt([data], KEY, IV)))
    sealed[draw.draw(st.integers(0, len(sealed) - 1))] ^= 1 << draw.draw(
        st.integers(0, 7)
    )

    with pytest.raises(FileDamagedError):
        list(decrypt(io.BytesIO(sealed), len(sealed), KEY, IV))


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 100])
def test_a_shorter_one_is_refused(cut: int) -> None:
    sealed = b"".join(encrypt([bytes(1000)], KEY, IV))

    for claimed in (len(sealed), len(sealed) - cut):
        with pytest.raises(FileDamagedError):
            list(decrypt(io.BytesIO(sealed[:-cut]), claimed, KEY, IV))


def seal(cipher: ChunkCipher, *pieces: bytes) -> memoryview:
    return memoryview(b"".join(cipher.seal(1, pieces or (b"te", b"xt"))))


def opened(cipher: ChunkCipher, number: int, sealed: bytes | memoryview) -> bytes:
    """Return a chunk that came in parts of odd sizes."""
    opening = cipher.opening(number, max(0, len(sealed) - CHUNK_OVERHEAD))
    steps = [0, 1, 7, 12, 13, 100, 1000, len(sealed) - 10, len(sealed)]
    ends = sorted({min(max(0, step), len(sealed)) for step in steps})
    parts = [bytes(sealed[a:b]) for a, b in pairwise(ends)]
    text = b"".join(map(opening.update, parts))
    opening.finish()
    return text


@pytest.mark.parametrize("size", [1, 256 * 1024, 256 * 1024 + 1, 4 * 1024 * 1024])
def test_a_chunk_is_what_the_library_makes_in_one_piece(size: int) -> None:
    cipher, data = ChunkCipher(KEY, 3, b"h" * 32), secrets.token_bytes(size)
    place = b"xmpp-onion file chunk 1\0" + struct.pack(">QQ", 1, 3) + b"h" * 32

    sealed = seal(cipher, data[:100], data[100:])

    assert AESGCM(KEY).decrypt(sealed[:12], sealed[12:], place) == data
    assert opened(cipher, 1, sealed) == data


@given(st.data())
def test_no_byte_of_a_chunk_can_be_changed(draw: st.DataObject) -> None:
    cipher = ChunkCipher(KEY, 3, b"h" * 32)
    sealed = bytearray(seal(cipher))
    place = draw.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << draw.draw(st.integers(0, 7))

    with pytest.raises(FileDamagedError):
        opened(cipher, 1, sealed)


def test_a_chunk_is_good_in_its_place_of_its_file_alone() -> None:
    cipher = ChunkCipher(KEY, 3, b"h" * 32)
    sealed = seal(cipher)

    assert opened(cipher, 1, sealed) == b"text"
    assert len(sealed) == 4 + CHUNK_OVERHEAD
    for other in (
        ChunkCipher(KEY, 4, b"h" * 32),
        ChunkCipher(KEY, 3, b"i" * 32),
        ChunkCipher(bytes(32), 3, b"h" * 32),
    ):
        with pytest.raises(FileDamagedError):
            opened(other, 1, sealed)
    for number in (0, 2):
        with pytest.raises(FileDamagedError):
            opened(cipher, number, sealed)


@given(st.binary(max_size=40))
def test_rubbish_is_no_chunk(sealed: bytes) -> None:
    with pytest.raises(FileDamagedError):
        opened(ChunkCipher(KEY, 3, b"h" * 32), 0, sealed)


def test_a_chunk_that_is_sent_again_has_another_nonce() -> None:
    cipher = ChunkCipher(KEY, 3, b"h" * 32)

    assert len({bytes(seal(cipher)[:12]) for _ in range(100)}) == 100


def test_no_key_is_in_a_repr() -> None:
    assert "key" not in repr(ChunkCipher(KEY, 3, b"h" * 32))
