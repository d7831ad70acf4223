"""The OMEMO library's key-value storage over our one SQLite file."""

import json
from typing import cast

from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import JSONType

from xmpp_onion.store import Keys

__all__ = ["KeyStorage"]


class KeyStorage(Storage):
    """Pass every read and write straight to :class:`~xmpp_onion.store.Keys`.

    The library's own cache is off: it would keep values that a roll-back has
    undone, and the next message would be encrypted with a key used before.
    """

    def __init__(self, keys: Keys) -> None:
        super().__init__(disable_cache=True)
        self._keys = keys

    async def _load(self, key: str) -> Maybe[JSONType]:
        text = await self._keys.load(key)
        return Nothing() if text is None else Just(cast("JSONType", json.loads(text)))

    async def _store(self, key: str, value: JSONType) -> None:
        await self._keys.store(key, json.dumps(value, separators=(",", ":")))

    async def _delete(self, key: str) -> None:
        await self._keys.delete(key)

    async def names(self, prefix: str) -> list[str]:
        """Return the keys that begin with ``prefix``, as they are on the disk."""
        return await self._keys.names(prefix)
