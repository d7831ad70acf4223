"""The index of a file in several objects: which they are, and what they make.

It is an object itself, encrypted, and its link goes into the message. Who wrote it is
known by then, and still it is checked as anything else that comes: all objects lie at
one onion, there are as many as the size says, and memory holds each.
"""

import json
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

from xmpp_onion.chat import Place
from xmpp_onion.errors import AddressError, FileDamagedError
from xmpp_onion.files.cipher import CHUNK_OVERHEAD, KEY_BYTES, ChunkCipher

__all__ = ["CHUNK_BYTES", "INDEX_BYTES", "Index", "choose_chunk_size"]

# Bytes of a chunk: what a broken circuit may cost. Four seconds of a circuit that
# moves 500 kB/s, beside which the round trips for each are little.
CHUNK_BYTES: Final = 2 * 1024 * 1024
# What others may have chosen, and what the largest files need.
_LARGEST_CHUNK: Final = 8 * 1024 * 1024
_SMALLEST_CHUNK: Final = 64 * 1024
_MOST_CHUNKS: Final = 8192
# An entry has 130 bytes.
INDEX_BYTES: Final = 2 * 1024 * 1024
_NAME_LIMIT: Final = 1024
# A padded index has a multiple of these bytes: a name of a file cannot be told by it.
_INDEX_STEP: Final = 4096


def choose_chunk_size(size: int, limit: int, *, padded: bool = False) -> int:
    """Return bytes of a chunk; zero if a server cannot hold the file at all.

    Args:
        size: Bytes of the file.
        limit: Bytes that the server takes in one object.
        padded: All chunks will be full. A small file is one, of a power of two.
    """
    most = min(limit - CHUNK_OVERHEAD, _LARGEST_CHUNK)
    chunk = min(CHUNK_BYTES, most)
    while chunk * _MOST_CHUNKS < size and chunk < most:
        chunk = min(2 * chunk, most)
    fits = chunk >= _SMALLEST_CHUNK and chunk * _MOST_CHUNKS >= size
    if padded:  # for a large file that power is more than a chunk has
        chunk = min(chunk, max(_SMALLEST_CHUNK, 1 << (size - 1).bit_length()))
    return chunk if fits else 0


@dataclass(frozen=True, slots=True)
class Index:
    """A file in several objects.

    Attributes:
        name: What its sender calls it.
        size: Its bytes.
        sha256: Of all of it.
        chunk_size: Bytes that each object holds; the last one the rest.
        key: Of this file alone.
        places: Where its objects are, in their order.
        padded: The last one is full, too: what is behind the file's end is no part
            of it. An empty file has one object, then.
    """

    name: str
    size: int
    sha256: bytes = field(repr=False)
    chunk_size: int
    key: bytes = field(repr=False)
    places: tuple[Place, ...] = field(repr=False)
    padded: bool = False

    @property
    def cipher(self) -> ChunkCipher:
        """What opens its chunks."""
        return ChunkCipher(self.key, len(self.places), self.sha256)

    def start_of(self, number: int) -> int:
        """Return where in the file a chunk begins."""
        return number * self.chunk_size

    def size_of(self, number: int) -> int:
        """Return the bytes of the file in a chunk."""
        return min(self.chunk_size, self.size - self.start_of(number))

    def held_by(self, number: int) -> int:
        """Return all bytes that a chunk holds, padding too."""
        return self.chunk_size if self.padded else self.size_of(number)

    def write(self) -> bytes:
        """Return it as it is encrypted and stored."""
        values: dict[str, object] = {
            "v": 1,
            "name": self.name,
            "size": self.size,
            "sha256": self.sha256.hex(),
            "chunk_size": self.chunk_size,
            "key": self.key.hex(),
            "chunks": [place.url for place in self.places],
        }
        if not self.padded:
            return json.dumps(values, ensure_ascii=False).encode()
        data = json.dumps({**values, "padded": True}, ensure_ascii=False).encode()
        return data.ljust(-(-len(data) // _INDEX_STEP) * _INDEX_STEP)

    @classmethod
    def read(cls, data: bytes, *, at: Place) -> Self:
        """Read what ``write()`` wrote.

        Args:
            data: The index, authentic.
            at: Where it was: its chunks have to be at the same service.

        Raises:
            FileDamagedError: It makes no file.
        """
        try:
            values: dict[str, object] = json.loads(data)
            index = cls(
                name=_checked(values["name"], str)[:_NAME_LIMIT],
                size=_checked(values["size"], int),
                sha256=bytes.fromhex(_checked(values["sha256"], str)),
                chunk_size=_checked(values["chunk_size"], int),
                key=bytes.fromhex(_checked(values["key"], str)),
                places=tuple(
                    Place.parse(_checked(url, str))
                    for url in _checked(values["chunks"], list)
                ),
                padded=_checked(values.get("padded", False), bool),
            )
        except (ValueError, KeyError, TypeError, RecursionError, AddressError):
            raise _no_index() from None
        if values.get("v") != 1 or not index._is_sound(at):
            raise _no_index()
        return index

    def _is_sound(self, at: Place) -> bool:
        """Tell whether it makes one file, at one service, in chunks that fit here."""
        return (
            self.size >= (0 if self.padded else 1)
            and _SMALLEST_CHUNK <= self.chunk_size <= _LARGEST_CHUNK
            and len(self.places) <= _MOST_CHUNKS
            and len(self.places) == max(1, -(-self.size // self.chunk_size))
            and len(self.key) == KEY_BYTES
            and len(self.sha256) == 32
            and {(place.host, place.port) for place in self.places}
            == {(at.host, at.port)}
        )


_Kind = TypeVar("_Kind")


def _checked(value: object, kind: type[_Kind]) -> _Kind:
    if type(value) is not kind:  # a bool is an int
        raise TypeError
    return value


def _no_index() -> FileDamagedError:
    return FileDamagedError(
        "the file cannot be put together",
        why="the list of its parts makes no file",
        fix="Ask its sender to send it again, with the same version of this program.",
    )
