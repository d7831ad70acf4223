"""Storing: a file, encrypted while it is read.

As one object, in the form that others read too; or in chunks with an index, each an
object, over several circuits, which goes on after a break and after a crash.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from itertools import chain

from xmpp_onion.chat import Attachment, Link, Place, Progress
from xmpp_onion.files.ahead import Ahead
from xmpp_onion.files.cipher import (
    CHUNK_OVERHEAD,
    KEY_BYTES,
    NONCE_BYTES,
    PIECE_BYTES,
    TAG_BYTES,
    ChunkCipher,
    encrypt,
)
from xmpp_onion.files.convoy import LANES, Claim, NewLane, Tally, over_lanes
from xmpp_onion.files.index import Index
from xmpp_onion.files.journal import Journal
from xmpp_onion.files.lane import Lane
from xmpp_onion.files.parcel import AskSlot, Parcel
from xmpp_onion.files.source import Source

__all__ = ["upload_chunks", "upload_single"]


async def upload_single(
    lane: Lane, ask: AskSlot, source: Source, progress: Progress | None = None
) -> Attachment:
    """Store a file as one object.

    Each try has a key of its own, so that a file which changed between two can give
    nothing away (GCM with one nonce for two texts would).

    Raises:
        FileError: The server does not take it, or it cannot be read, or changed.
        TorError: The server could not be reached for a long time.
    """
    link: tuple[bytes, bytes] = b"", b""
    digest = hashlib.sha256()

    def sealed() -> Iterator[bytes]:
        nonlocal link, digest
        link = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        digest = hashlib.sha256()
        return encrypt(_hashed(source.read(), digest), *link)

    def told(sent: int) -> None:
        if progress is not None:
            progress(min(sent, source.size), source.size)

    place = await lane.store(ask, source.size + TAG_BYTES, sealed, told)
    return Attachment(
        url=Link(place, *link).text,
        name=source.path.name,
        size=source.size,
        sha256=digest.hexdigest(),
    )


async def upload_chunks(
    lanes: NewLane,
    ask: AskSlot,
    source: Source,
    *,
    chunk_size: int,
    padded: bool = False,
    journal: Journal,
    circuits: int = LANES,
    progress: Progress | None = None,
) -> Attachment:
    """Store a file in chunks, then their index.

    The file is read twice: its hash is bound into each chunk, and tells whether an
    upload that broke off was of this very content. With ``padded`` all have the same
    size, and one is there for an empty file. The journal keeps all of it until it
    is told to forget, when the message is on its way. Each chunk is compared with what
    was read first before its end leaves, and is no object at the server without it.

    Raises:
        FileError: The server does not take it, or it cannot be read, or changed.
        TorError: The server could not be reached for a long time; to send the same
            file again goes on where it was.
    """
    sha256, hashes = await source.digest(chunk_size)
    hashes = hashes or [sha256]
    begun = await journal.begin(sha256, chunk_size, padded=padded)
    cipher = ChunkCipher(begun.key, len(hashes), sha256)
    left = [number for number in range(len(hashes)) if number not in begun.places]
    sizes = [min(chunk_size, source.size - n * chunk_size) for n in range(len(hashes))]
    tally = Tally(progress, source.size, sum(sizes[n] for n in begun.places))

    held = [chunk_size if padded else size for size in sizes]
    ahead = Ahead(ask, [held[n] + CHUNK_OVERHEAD for n in left[circuits:]])

    async def carry(lane: Lane, number: int, _claim: Claim) -> None:
        nonce, sent_before = b"", list[bytes]()

        def anew() -> Iterator[bytes]:
            nonlocal nonce
            nonce = secrets.token_bytes(NONCE_BYTES)
            sent_before.clear()
            return again()

        def again() -> Iterator[bytes]:
            content = _unchanged(source, (start, size), hashes[number])
            same = _same(content, sent_before, source)
            return cipher.seal(number, chain(same, _blank(held[number] - size)), nonce)

        async def done(place: Place) -> None:
            await journal.note(begun, number, place)
            tally.finish(number, size)

        start, size = number * chunk_size, sizes[number]
        await lane.send(
            Parcel(
                ask=ahead.ask,
                size=held[number] + CHUNK_OVERHEAD,
                pieces=anew,
                told=lambda sent: tally.part(number, min(sent, size)),
                done=done,
                again=again,
            )
        )

    async with ahead:
        await over_lanes(lanes, left, carry, count=circuits)
    places = tuple(begun.places[number] for number in range(len(hashes)))
    name = source.path.name
    index = Index(name, source.size, sha256, chunk_size, begun.key, places, padded)
    async with lanes() as lane:
        link = await _store_index(lane, ask, index)
    return Attachment(url=link.text, name=name, size=source.size, sha256=sha256.hex())


def _hashed(pieces: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    """Yield the same pieces, and add each to a hash."""
    for piece in pieces:
        digest.update(piece)
        yield piece


def _blank(size: int) -> Iterator[bytes]:
    """Yield padding: encrypted with what is before it, it looks like the rest."""
    for start in range(0, size, PIECE_BYTES):
        yield bytes(min(PIECE_BYTES, size - start))


def _unchanged(source: Source, part: tuple[int, int], sha256: bytes) -> Iterator[bytes]:
    """Yield a part of a file; raise at its end if it is another than before."""
    digest = hashlib.sha256()
    yield from _hashed(source.read(*part), digest)
    if digest.digest() != sha256:
        raise source.changed()


def _same(
    pieces: Iterable[bytes], before: list[bytes], source: Source
) -> Iterator[bytes]:
    """Yield the same pieces; raise before one that is another than the last time.

    Nothing may be encrypted with the nonce of something else, whatever the server says
    it has, and however a file was changed.
    """
    for number, piece in enumerate(pieces):
        digest = hashlib.sha256(piece).digest()
        if number == len(before):
            before.append(digest)
        elif before[number] != digest:
            raise source.changed()
        yield piece


async def _store_index(lane: Lane, ask: AskSlot, index: Index) -> Link:
    key, iv = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    # Always the same bytes, so the same key and IV may encrypt them again.
    sealed = b"".join(encrypt([index.write()], key, iv))
    place = await lane.store(ask, len(sealed), lambda: [sealed], lambda _sent: None)
    return Link(place, key, iv, is_index=True)
