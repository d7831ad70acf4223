"""H5 and H6: what others decrypt, what we refuse, and no nonce twice."""

import io
import secrets

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


def test_a_chunk_is_good_in_its_place_of_its_file_alone() -> None:
    cipher = ChunkCipher(KEY, 3, b"h" * 32)
    sealed = cipher.seal(1, b"text")

    assert cipher.open(1, sealed) == b"text"
    assert len(sealed) == 4 + CHUNK_OVERHEAD
    for other in (
        ChunkCipher(KEY, 4, b"h" * 32),
        ChunkCipher(KEY, 3, b"i" * 32),
        ChunkCipher(bytes(32), 3, b"h" * 32),
    ):
        with pytest.raises(FileDamagedError):
            other.open(1, sealed)
    for number in (0, 2):
        with pytest.raises(FileDamagedError):
            cipher.open(number, sealed)


@given(st.binary(max_size=40))
def test_rubbish_is_no_chunk(sealed: bytes) -> None:
    with pytest.raises(FileDamagedError):
        ChunkCipher(KEY, 3, b"h" * 32).open(0, sealed)


def test_a_chunk_that_is_sent_again_has_another_nonce() -> None:
    cipher = ChunkCipher(KEY, 3, b"h" * 32)

    assert len({cipher.seal(1, b"text")[:12] for _ in range(100)}) == 100


def test_no_key_is_in_a_repr() -> None:
    assert "key" not in repr(ChunkCipher(KEY, 3, b"h" * 32))
