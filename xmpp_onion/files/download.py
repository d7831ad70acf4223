"""Fetching: ciphertext to the disk, all of it checked, and only then a file.

What breaks off goes on later, in another process too: the ciphertext that came lies
beside where the file shall be, under a name made from the link.
"""

import asyncio
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xmpp_onion.chat import Attachment, Link, Progress
from xmpp_onion.errors import FileDamagedError, FileTooLargeError, TransferError
from xmpp_onion.files.answers import GONE
from xmpp_onion.files.assembly import assemble
from xmpp_onion.files.cipher import TAG_BYTES, decrypt
from xmpp_onion.files.convoy import LANES, NewLane
from xmpp_onion.files.disk import check_room, draft, settle
from xmpp_onion.files.index import INDEX_BYTES, Index

__all__ = ["download", "drafts_of"]


@dataclass(frozen=True, slots=True)
class _Limits:
    """What may come: what was said of it, and no more than is wanted."""

    folder: Path
    size: int | None
    limit: int
    told: Progress | None

    def tell(self, done: int, total: int) -> None:
        """Tell of the bytes of the file rather than of the object."""
        if self.told is not None:
            self.told(min(done, total - TAG_BYTES), total - TAG_BYTES)

    def allow(self, total: int) -> None:
        """Refuse an object by its size, before any of it is taken."""
        plain = total - TAG_BYTES
        if plain < 0 or self.size not in {None, plain}:
            raise _another("it has another size")
        if plain > self.limit:
            raise FileTooLargeError(
                "the file was not fetched",
                why=f"it has {plain} bytes, and {self.limit} are allowed",
                fix="Allow more if you want it.",
            )
        check_room(self.folder, 2 * total)  # the ciphertext, and what is in it


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What it shall be: the draft, the hash if it is known, and the name."""

    draft: Path
    sha256: str
    name: str


async def download(
    lanes: NewLane,
    attachment: Attachment,
    folder: Path,
    *,
    progress: Progress | None,
    limit_bytes: int,
    circuits: int = LANES,
) -> Path:
    """Fetch a file, check all of it, and return where it is.

    Args:
        lanes: Makes circuits.
        attachment: What to fetch.
        folder: Where to put it.
        progress: Told bytes done, and bytes in all.
        limit_bytes: Refuse a larger file.
        circuits: How many carry the chunks of a large one.

    Raises:
        AddressError: The link leads elsewhere than to an onion.
        FileError: It is gone, too large, or damaged; nothing is left of it.
        TorError: The server could not be reached for a long time; what came is kept.
    """
    link = Link.parse(attachment.url)
    limits = _Limits(folder, attachment.size, limit_bytes, progress)
    part, new = drafts_of(link, folder)
    with draft(folder, part.name, keep=True) as file:
        try:
            if link.is_index:
                index = await _fetch_index(lanes, link, attachment)
                limits.allow(index.size + TAG_BYTES)
                await assemble(lanes, index, file, circuits=circuits, progress=progress)
                return settle(file, part, attachment.name or index.name)
            total = await _fetch(lanes, link, file, limits)
            name = attachment.name or link.place.target.rpartition("/")[2]
            wanted = _Wanted(new, attachment.sha256, name)
            return await _open(file, total, link, wanted)
        except FileDamagedError:
            file.truncate(0)  # or the next try would find the same
            raise
        except TransferError as error:
            if error.status in GONE:  # there will be no next try
                file.truncate(0)
            raise


def drafts_of(link: Link, folder: Path) -> tuple[Path, Path]:
    """Return where a file is until it has its name: as it comes, and decrypted.

    Nobody who has not got the link can guess where that is.
    """
    stem = f".{hashlib.sha256(link.text.encode()).hexdigest()[:32]}"
    return folder / f"{stem}.part", folder / f"{stem}.new"


async def _fetch(lanes: NewLane, link: Link, into: BinaryIO, limits: _Limits) -> int:
    """Fetch an object, and return its bytes; what came before stays."""
    async with lanes() as lane:
        return await lane.fetch(link.place, into, allow=limits.allow, told=limits.tell)


async def _fetch_index(lanes: NewLane, link: Link, attachment: Attachment) -> Index:
    """Fetch the index, and compare it with what the message says."""
    sealed = io.BytesIO()

    def allow(total: int) -> None:
        if not TAG_BYTES < total <= INDEX_BYTES:
            raise _another("the list of its parts is too long")

    async with lanes() as lane:
        total = await lane.fetch(
            link.place, sealed, allow=allow, told=lambda _done, _total: None
        )
    sealed.seek(0)
    data = b"".join(decrypt(sealed, total, link.key, link.iv))
    index = Index.read(data, at=link.place)
    said = attachment.size or index.size, attachment.sha256 or index.sha256.hex()
    if said != (index.size, index.sha256.hex()):
        raise _another("its size or its hash is another than the message says")
    return index


async def _open(sealed: BinaryIO, total: int, link: Link, wanted: _Wanted) -> Path:
    """Decrypt into a draft; it gets its name when all of it is authentic."""
    sealed.seek(0)
    with draft(wanted.draft.parent, wanted.draft.name, keep=False) as plain:
        plain.truncate(0)
        digest = hashlib.sha256()
        for piece in decrypt(sealed, total, link.key, link.iv):
            digest.update(piece)
            plain.write(piece)
            await asyncio.sleep(0)  # others live in this loop
        if wanted.sha256 not in {"", digest.hexdigest()}:
            raise _another("it has another hash")
        return settle(plain, wanted.draft, wanted.name)


def _another(why: str) -> FileDamagedError:
    return FileDamagedError(
        "the file that is there is not the one that was sent",
        why=why,
        fix="Ask its sender to send it again.",
    )
