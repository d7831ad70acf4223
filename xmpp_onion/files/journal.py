"""What of an upload is done already: in the account's store, so encrypted as it is.

A row for the file and one for each chunk that the server has. The key in it would
read the file; it is forgotten when the message is on its way.
"""

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from xmpp_onion.chat import Place
from xmpp_onion.files.cipher import KEY_BYTES
from xmpp_onion.store import Database, Keys

__all__ = ["Begun", "Journal"]

_PREFIX: Final = "/xmpp-onion/upload/"
# A server keeps objects for some days (ours three). What was stored longer ago than
# this might go before the recipient has looked.
_LASTING: Final = timedelta(days=1)
# Uploads that are begun and not finished: beyond, the oldest is forgotten.
_MOST: Final = 20


@dataclass(slots=True)
class Begun:
    """An upload that is under way.

    Attributes:
        name: Of its rows.
        key: Of the file.
        chunk_size: Bytes of each chunk.
        places: Chunks that the server has, by their number.
    """

    name: str
    key: bytes = field(repr=False)
    chunk_size: int
    places: dict[int, Place] = field(default_factory=dict, repr=False)

    def describe(self) -> str:
        """Return the row of the file, as of now."""
        return json.dumps(
            {
                "key": self.key.hex(),
                "chunk_size": self.chunk_size,
                "at": datetime.now(UTC).isoformat(),
            }
        )


class Journal:
    """Remembers uploads over a crash.

    Args:
        database: Of the account.
        keys: Its table of texts.
    """

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    async def begin(
        self, sha256: bytes, chunk_size: int, *, padded: bool = False
    ) -> Begun:
        """Return what is known of an upload of this very content, or a new one.

        With padding the chunks are others, so it is another upload.
        """
        async with self._database.transaction():
            await self._tidy()
            name = _name(sha256, padded=padded)
            known = await self._load(name)
            if known is not None and known.chunk_size == chunk_size:
                return known
            await self._forget(name)
            begun = Begun(name, secrets.token_bytes(KEY_BYTES), chunk_size)
            await self._keys.store(name, begun.describe())
        return begun

    async def note(self, begun: Begun, number: int, place: Place) -> None:
        """Remember that the server has a chunk.

        Who sent the same file to somebody else may have been done meanwhile, and have
        forgotten it: then it is written down anew, or nobody would find this chunk.
        """
        begun.places[number] = place
        async with self._database.transaction():
            if await self._keys.load(begun.name) is None:
                await self._keys.store(begun.name, begun.describe())
            await self._keys.store(f"{begun.name}/{number}", place.url)

    async def forget(self, sha256: bytes, *, padded: bool = False) -> None:
        """Forget an upload of this content, its key too."""
        async with self._database.transaction():
            await self._forget(_name(sha256, padded=padded))

    async def _load(self, name: str) -> Begun | None:
        text = await self._keys.load(name)
        if text is None:
            return None
        values = json.loads(text)
        begun = Begun(name, bytes.fromhex(values["key"]), values["chunk_size"])
        for row in await self._keys.names(f"{name}/"):
            url = await self._keys.load(row)
            begun.places[int(row.rpartition("/")[2])] = Place.parse(url or "")
        return begun

    async def _forget(self, name: str) -> None:
        for row in await self._keys.names(name):
            await self._keys.delete(row)

    async def _tidy(self) -> None:
        """Forget what is too old to go on with, what are too many, and lone chunks."""
        names = set(await self._keys.names(_PREFIX))
        for name in names:
            file = _PREFIX + name.removeprefix(_PREFIX).partition("/")[0]
            if file not in names:
                await self._keys.delete(name)
        begun = [
            (datetime.fromisoformat(json.loads(text)["at"]), name)
            for name in await self._keys.names(_PREFIX)
            if "/" not in name.removeprefix(_PREFIX)
            and (text := await self._keys.load(name)) is not None
        ]
        begun.sort(reverse=True)
        now = datetime.now(UTC)
        for place, (at, name) in enumerate(begun):
            if place >= _MOST - 1 or not timedelta(0) <= now - at < _LASTING:
                await self._forget(name)


def _name(sha256: bytes, *, padded: bool) -> str:
    return f"{_PREFIX}{'padded-' if padded else ''}{sha256.hex()}"
