"""AES-256-GCM over files: in pieces for one object, chunk by chunk for several.

No nonce is ever used twice with a key: an object has a key of its own, and each
encryption of a chunk draws a nonce, also when the chunk is sent again. A chunk is
bound to its place, to the number of chunks and to the whole file's hash.
"""

import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import AEADDecryptionContext, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from xmpp_onion.errors import FileDamagedError

__all__ = [
    "CHUNK_OVERHEAD",
    "KEY_BYTES",
    "NONCE_BYTES",
    "PIECE_BYTES",
    "TAG_BYTES",
    "ChunkCipher",
    "Opening",
    "decrypt",
    "encrypt",
]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
# What a chunk has more than what it holds: the nonce before, the tag after.
CHUNK_OVERHEAD: Final = NONCE_BYTES + TAG_BYTES
# Read, encrypted and sent at once: large enough for the cipher, small beside memory.
PIECE_BYTES: Final = 256 * 1024
_LABEL: Final = b"xmpp-onion file chunk 1\0"


def encrypt(pieces: Iterable[bytes], key: bytes, iv: bytes) -> Iterator[bytes]:
    """Yield the ciphertext of all pieces, and the tag at the end."""
    cipher = Cipher(AES(key), GCM(iv)).encryptor()
    for piece in pieces:
        yield cipher.update(piece)
    yield cipher.finalize() + cipher.tag


def decrypt(source: BinaryIO, size: int, key: bytes, iv: bytes) -> Iterator[bytes]:
    """Yield plaintext that is not authentic until the iterator has ended.

    Whoever takes it must hide it until then, and drop it if this raises.

    Args:
        source: Where the ciphertext begins.
        size: Its bytes, the tag included.
        key: 32 bytes.
        iv: 12 or 16 bytes.

    Raises:
        FileDamagedError: The tag does not fit, or something is missing.
    """
    cipher = Cipher(AES(key), GCM(iv)).decryptor()
    left = size - TAG_BYTES
    while left > 0 and (piece := source.read(min(left, PIECE_BYTES))):
        left -= len(piece)
        yield cipher.update(piece)
    tag = source.read(TAG_BYTES)
    if left != 0 or len(tag) != TAG_BYTES:
        raise _damaged("it is cut short")
    try:
        yield cipher.finalize_with_tag(tag)
    except InvalidTag:
        raise _damaged("its authentication tag does not fit") from None


@dataclass(frozen=True, slots=True)
class ChunkCipher:
    """Encrypts the chunks of one file.

    Attributes:
        key: Of this file alone.
        count: How many chunks the file has.
        sha256: Of the whole file.
    """

    key: bytes = field(repr=False)
    count: int
    sha256: bytes = field(repr=False)

    def seal(
        self, number: int, pieces: Iterable[bytes], nonce: bytes = b""
    ) -> Iterator[bytes]:
        """Yield a chunk as it is stored at the server; each time with a new nonce.

        Args:
            number: Its place.
            pieces: What it holds.
            nonce: Only to yield the very same chunk again: who passes one has to see
                to it that the pieces are the same.
        """
        nonce = nonce or secrets.token_bytes(NONCE_BYTES)
        cipher = Cipher(AES(self.key), GCM(nonce)).encryptor()
        cipher.authenticate_additional_data(self._place(number))
        yield nonce
        for piece in pieces:
            yield cipher.update(piece)
        yield cipher.finalize() + cipher.tag

    def opening(self, number: int, size: int) -> "Opening":
        """Return what takes a chunk as it comes.

        Args:
            number: Its place.
            size: Bytes that it holds.
        """
        return Opening(self.key, self._place(number), size)

    def _place(self, number: int) -> bytes:
        return _LABEL + struct.pack(">QQ", number, self.count) + self.sha256


class Opening:
    """Decrypts a chunk while it comes, in whatever parts that may be.

    What it gives is not authentic before ``finish()``: keep it where nobody looks.

    Args:
        key: Of the file.
        place: What is authenticated with the chunk.
        size: Bytes that it holds.
    """

    def __init__(self, key: bytes, place: bytes, size: int) -> None:
        self._key = key
        self._authenticated = place
        self._left = size
        self._head = self._tag = b""
        self._cipher: AEADDecryptionContext | None = None

    def update(self, data: bytes) -> bytes:
        """Return what the next bytes of the chunk hold."""
        if self._cipher is None:
            missing = NONCE_BYTES - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) < NONCE_BYTES:
                return b""
            self._cipher = Cipher(AES(self._key), GCM(self._head)).decryptor()
            self._cipher.authenticate_additional_data(self._authenticated)
        held, self._tag = data[: self._left], self._tag + data[self._left :]
        self._left -= len(held)
        return self._cipher.update(held)

    def finish(self) -> None:
        """Return if all of it came and is authentic.

        Raises:
            FileDamagedError: It is not that chunk of this file.
        """
        if self._cipher is None or self._left or len(self._tag) != TAG_BYTES:
            raise _damaged("a part of it is cut short")
        try:
            self._cipher.finalize_with_tag(self._tag)
        except InvalidTag:
            raise _damaged("a part of it is not what was sent") from None


def _damaged(why: str) -> FileDamagedError:
    return FileDamagedError(
        "the file that came is damaged",
        why=why,
        fix="Nothing of it was kept. Ask its sender to send it again.",
    )
