"""Storing: a file, encrypted while it is read, as one object that others read too."""

import hashlib
import secrets
from collections.abc import Iterator

from xmpp_onion.chat import Attachment, Link, Progress
from xmpp_onion.files.cipher import KEY_BYTES, NONCE_BYTES, TAG_BYTES, encrypt
from xmpp_onion.files.lane import AskSlot, Lane
from xmpp_onion.files.source import Source

__all__ = ["upload_single"]


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
