"""Files of one account: slots from the session, circuits of their own."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import Attachment, Link, Progress, Slot
from xmpp_onion.errors import FileError, FileTooLargeError
from xmpp_onion.files import (
    CHUNK_BYTES,
    LANES,
    TAG_BYTES,
    Dialer,
    Drafts,
    Journal,
    Lane,
    Pace,
    Source,
    choose_chunk_size,
    download,
    drafts_of,
    fetch_page,
    read_sound,
    upload_chunks,
    upload_single,
)
from xmpp_onion.private import os_errors
from xmpp_onion.session import Session, Slots

__all__ = ["SINGLE_BYTES", "Sharing"]

# Seconds that a lost session may take to come back before a slot is asked for again.
_ONLINE_TIMEOUT: Final = 60.0
# Bytes up to which a file is one object, which every client reads. A circuit that
# breaks costs all of it then: as much as two chunks.
SINGLE_BYTES: Final = 2 * CHUNK_BYTES


class Sharing:
    """Stores files at our server, and fetches those of others.

    Args:
        session: Where slots are asked for.
        dialer: The way through Tor.
        own: Our account.
        journal: Remembers uploads over a crash.
        drafts: Erases what broke off of what disappears.
        pace: How slow a server may be.
        circuits: How many carry the chunks of a large file.
    """

    def __init__(
        self,
        session: Session,
        dialer: Dialer,
        own: JID,
        journal: Journal,
        *,
        drafts: Drafts,
        pace: Pace | None = None,
        circuits: int = LANES,
    ) -> None:
        self._session = session
        self._journal = journal
        self._drafts = drafts
        self._slots = Slots(session.xmpp, own.domain)
        self._dialer = dialer
        self._own = own
        self._pace = pace or Pace()
        self.circuits = circuits

    async def upload(
        self,
        path: Path,
        progress: Progress | None = None,
        *,
        pad: bool = False,
        may_split: Callable[[], Awaitable[bool]],
    ) -> Attachment:
        """Encrypt a file, store it, and return what a message says of it.

        Args:
            path: The file.
            progress: Told bytes done, and bytes in all.
            pad: Store full chunks alone.
            may_split: Asked before anything is stored: whether all who get it can
                put chunks together. What it raises ends it.

        Raises:
            FileError: It cannot be read, changed, or the server does not take it.
            SessionError: There is no connection for a long time.
            TorError: The server could not be reached for a long time.
        """
        source = Source(path)
        await self._session.wait_online(_ONLINE_TIMEOUT)
        is_split = await may_split()
        if pad and not is_split:
            raise _unpadded(path)
        limit = await self._slots.limit()
        chunk_size = choose_chunk_size(source.size, limit, padded=pad)
        if chunk_size and is_split and (pad or source.size > SINGLE_BYTES):
            return await upload_chunks(
                self._lane,
                self._ask,
                source,
                chunk_size=chunk_size,
                padded=pad,
                journal=self._journal,
                circuits=self.circuits,
                progress=progress,
            )
        if pad or source.size + TAG_BYTES > limit:
            raise _too_large(source, limit, fits_in_chunks=chunk_size > 0)
        async with self._lane() as lane:
            return await upload_single(lane, self._ask, source, progress)

    async def fetch(self, url: str, limit_bytes: int) -> bytes:
        """Return a page of an onion service; see ``Client.fetch``."""
        return await fetch_page(
            self._dialer,
            url,
            account=self._own.bare,
            limit_bytes=limit_bytes,
            pace=self._pace,
        )

    async def link_for_others(self, attachment: Attachment) -> str:
        """Return the link that every client can follow; in chunks ours can alone.

        Raises:
            SessionError: There is no connection for a long time.
        """
        link = Link.parse(attachment.url)
        if link.is_index:
            return link.text
        return replace(link, place=await self._slots.for_others(link.place)).text

    async def heard(self, attachment: Attachment, path: Path) -> Attachment:
        """Return it with what a recording says of itself.

        Raises:
            StoreError: It cannot be read any more.
        """
        with os_errors(path):
            sound = await asyncio.to_thread(read_sound, path)
        return replace(attachment, media_type=sound.media_type, seconds=sound.seconds)

    async def forget(self, attachment: Attachment, *, pad: bool = False) -> None:
        """Forget how it was stored: the message that names it is on its way.

        Until then, to send the same file again stores none of its chunks twice.
        """
        await self._journal.forget(bytes.fromhex(attachment.sha256), padded=pad)

    async def save(
        self,
        attachment: Attachment,
        folder: Path,
        progress: Progress | None,
        limit_bytes: int,
        *,
        expires_at: datetime | None = None,
    ) -> Path:
        """Fetch a file; see ``Attachment.save``.

        What breaks off is erased when its message is, if there is a time for that.
        """
        drafts = [*drafts_of(Link.parse(attachment.url), folder)]
        if expires_at is not None:
            await self._drafts.note(drafts, expires_at)
        saved = await download(
            self._lane,
            attachment,
            folder,
            progress=progress,
            limit_bytes=limit_bytes,
            circuits=self.circuits,
        )
        if expires_at is not None:
            await self._drafts.forget(drafts)
        return saved

    async def _ask(self, size: int) -> Slot:
        """Return a slot, under a name that says nothing."""
        await self._session.wait_online(_ONLINE_TIMEOUT)
        return await self._slots.ask(secrets.token_hex(16), size)

    def _lane(self) -> Lane:
        return Lane(self._dialer, self._own, pace=self._pace)


def _too_large(source: Source, limit: int, *, fits_in_chunks: bool) -> FileError:
    return FileTooLargeError(
        f"{source.path} was not sent",
        why=f"it has {source.size} bytes, and the server takes {limit} at once",
        fix="Split it: a device that gets it cannot put parts together."
        if fits_in_chunks
        else "Split it, or ask who runs the server.",
    )


def _unpadded(path: Path) -> FileError:
    return FileError(
        f"{path} was not sent",
        why="a device that gets it runs another client, which cannot take padding off",
        fix="Send it without padding: the server sees its size then.",
    )
