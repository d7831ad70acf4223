"""Storing: a file, encrypted while it is read.

As one object, in the form that others read too; or in chunks with an index, each an
object, over several circuits, which goes on after a break and after a crash.
"""

import hashlib
import secrets
from collections.abc import Iterator

from xmpp_onion.chat import Attachment, Link, Progress
from xmpp_onion.files.cipher import (
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    ChunkCipher,
    encrypt,
)
from xmpp_onion.files.convoy import NewLane, Tally, over_lanes
from xmpp_onion.files.index import Index
from xmpp_onion.files.journal import Journal
from xmpp_onion.files.lane import AskSlot, Lane
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

    def hashed() -> Iterator[bytes]:
        for piece in source.read():
            digest.update(piece)
            yield piece

    def sealed() -> Iterator[bytes]:
        nonlocal link, digest
        link = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
        digest = hashlib.sha256()
        return encrypt(hashed(), *link)

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
    journal: Journal,
    progress: Progress | None = None,
) -> Attachment:
    """Store a file in chunks, then their index.

    The file is read twice: its hash is bound into each chunk, and tells whether an
    upload that broke off was of this very content. Each chunk is compared with what
    was read first, so that nothing is sent of a file that changes.

    Raises:
        FileError: The server does not take it, or it cannot be read, or changed.
        TorError: The server could not be reached for a long time; to send the same
            file again goes on where it was.
    """
    sha256, hashes = await source.digest(chunk_size)
    begun = await journal.begin(sha256, chunk_size)
    cipher = ChunkCipher(begun.key, len(hashes), sha256)
    left = [number for number in range(len(hashes)) if number not in begun.places]
    sizes = [min(chunk_size, source.size - n * chunk_size) for n in range(len(hashes))]
    tally = Tally(progress, source.size, sum(sizes[n] for n in begun.places))

    async def carry(lane: Lane, number: int) -> None:
        data = b"".join(source.read(number * chunk_size, sizes[number]))
        if hashlib.sha256(data).digest() != hashes[number]:
            raise source.changed()
        sealed = cipher.seal(number, data)
        del data
        place = await lane.store(
            ask, len(sealed), lambda: [sealed], lambda sent: tally.part(number, sent)
        )
        await journal.note(begun, number, place)
        tally.finish(number, sizes[number])

    await over_lanes(lanes, left, carry)
    places = tuple(begun.places[number] for number in range(len(hashes)))
    name = source.path.name
    index = Index(name, source.size, sha256, chunk_size, begun.key, places)
    async with lanes() as lane:
        link = await _store_index(lane, ask, index)
    await journal.forget(begun)
    return Attachment(url=link.text, name=name, size=source.size, sha256=sha256.hex())


async def _store_index(lane: Lane, ask: AskSlot, index: Index) -> Link:
    key, iv = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    # Always the same bytes, so the same key and IV may encrypt them again.
    sealed = b"".join(encrypt([index.write()], key, iv))
    place = await lane.store(ask, len(sealed), lambda: [sealed], lambda _sent: None)
    return Link(place, key, iv, is_index=True)
