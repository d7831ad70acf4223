"""A file that came with a message: what its sender says of it, and how to get it.

Nothing is fetched by itself. All but the link is the sender's word: the name is not
safe to use as it stands, and what the file holds may be something else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from xmpp_onion.chat.link import Link
from xmpp_onion.errors import AddressError

__all__ = ["FILE_LIMIT", "Attachment", "Fetch", "Progress", "linked"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told bytes done and bytes in all, often; it may go back when a circuit dies."""


class Fetch(Protocol):
    """What fetches a file."""

    async def __call__(
        self,
        attachment: "Attachment",
        folder: Path,
        progress: Progress | None,
        limit_bytes: int,
        *,
        expires_at: datetime | None = None,
    ) -> Path:
        """Fetch it; what breaks off is not kept for longer than its message."""


# Bytes that save() takes if nobody says otherwise: 4 GiB, which no mail would.
FILE_LIMIT: Final = 4 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What somebody attached to a message.

    Attributes:
        url: The link, which holds the key. Whoever has it can read the file.
        name: What the sender calls it; ``save()`` makes a safe name of it.
        size: In bytes; None if the sender does not say.
        media_type: Such as ``image/png``; empty if the sender does not say.
        sha256: Of the whole file, 64 hex digits; empty if the sender does not say.
        seconds: How long it lasts, of a voice note or a film; None if unknown.
    """

    url: str = field(repr=False)
    name: str = ""
    size: int | None = None
    media_type: str = ""
    sha256: str = field(default="", repr=False)
    seconds: float | None = None
    _fetch: Fetch | None = field(default=None, repr=False, compare=False)
    _expires_at: datetime | None = field(default=None, repr=False, compare=False)

    async def save(
        self,
        folder: Path | str,
        progress: Progress | None = None,
        *,
        limit_bytes: int = FILE_LIMIT,
    ) -> Path:
        """Fetch the file through Tor, check all of it, and put it into ``folder``.

        A file that is there is never overwritten: the new one gets another name.
        It appears under its name only when it is whole and authentic.

        Args:
            folder: Where to put it.
            progress: Told how far it is.
            limit_bytes: Refuse a larger file.

        Returns:
            Where it is now.

        Raises:
            RuntimeError: It did not come from a client.
            FileError: It is too large, damaged, or gone from the server.
            TorError: The server could not be reached for a long time.
        """
        if self._fetch is None:
            raise RuntimeError("only an attachment that a client received can be saved")
        return await self._fetch(
            self, Path(folder), progress, limit_bytes, expires_at=self._expires_at
        )

    def bound(
        self, fetch: Fetch | None, expires_at: datetime | None = None
    ) -> "Attachment":
        """Return it with what fetches it, and until when its message may be kept."""
        return replace(self, _fetch=fetch, _expires_at=expires_at)


def linked(text: str | None) -> Attachment | None:
    """Return the file that a text is the link to; None if it is a text."""
    if text is None or not text.startswith("aesgcm"):
        return None
    try:
        link = Link.parse(text.strip())
    except AddressError:
        return None
    name = link.place.target.partition("?")[0].rpartition("/")[2]
    return Attachment(url=link.text, name=name)
