"""Fetching: ciphertext to the disk, all of it checked, and only then a file.

What breaks off goes on later, in another process too: the ciphertext that came lies
beside where the file shall be, under a name made from the link.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from xmpp_onion.chat import Attachment, Link, Progress
from xmpp_onion.errors import FileDamagedError, FileTooLargeError
from xmpp_onion.files.cipher import TAG_BYTES, decrypt
from xmpp_onion.files.disk import check_room, draft, settle
from xmpp_onion.files.lane import Lane

__all__ = ["NewLane", "download"]

NewLane: TypeAlias = Callable[[], Lane]


@dataclass(frozen=True, slots=True)
class _Limits:
    """What may come: what was said of it, and no more than is wanted."""

    folder: Path
    size: int | None
    limit: int

    def allow(self, total: int) -> None:
        """Refuse an object by its size, before any of it is taken."""
        plain = total - TAG_BYTES
        if plain < 0 or self.size not in {None, plain}:
            raise FileDamagedError(
                "the server has another file than the one that was sent",
                why="it has another size",
                fix="Ask its sender to send it again.",
            )
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
) -> Path:
    """Fetch a file, check all of it, and return where it is.

    Args:
        lanes: Makes circuits.
        attachment: What to fetch.
        folder: Where to put it.
        progress: Told bytes done, and bytes in all.
        limit_bytes: Refuse a larger file.

    Raises:
        AddressError: The link leads elsewhere than to an onion.
        FileError: It is gone, too large, or damaged; nothing is left of it.
        TorError: The server could not be reached for a long time; what came is kept.
    """
    link = Link.parse(attachment.url)
    stem = f".{hashlib.sha256(link.text.encode()).hexdigest()[:32]}"
    limits = _Limits(folder, attachment.size, limit_bytes)
    told = progress or (lambda _done, _total: None)
    name = attachment.name or link.place.target.rpartition("/")[2]
    with draft(folder, f"{stem}.part", keep=True) as sealed:
        async with lanes() as lane:
            total = await lane.fetch(
                link.place, sealed, allow=limits.allow, told=_without_tag(told)
            )
        try:
            new = folder / f"{stem}.new"
            wanted = _Wanted(new, attachment.sha256, name)
            return await _open(sealed, total, link, wanted)
        except FileDamagedError:
            sealed.truncate(0)  # or the next try would find the same
            raise


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
            raise FileDamagedError(
                "the file that came is not the one that was sent",
                why="it has another hash",
                fix="Ask its sender to send it again.",
            )
        return settle(plain, wanted.draft, wanted.name)


def _without_tag(told: Progress) -> Progress:
    """Tell of the bytes of the file rather than of the object."""
    return lambda done, total: told(min(done, total - TAG_BYTES), total - TAG_BYTES)
