"""The OMEMO library's key-value storage over our one SQLite file."""

import json
from collections.abc import Callable, Collection
from typing import TypeVar, cast

from omemo.storage import Maybe, Nothing, Storage
from omemo.types import JSONType

from xmpp_onion.store import Keys

__all__ = ["KeyStorage"]

_ValueT = TypeVar("_ValueT")
_DefaultT = TypeVar("_DefaultT")
_MappedT = TypeVar("_MappedT")


class _Fresh(Maybe[_ValueT]):
    """A value that nobody else holds: it was just made from text.

    The library's own class copies it deeply on each way in and out, which was most
    of the time that a message took.
    """

    def __init__(self, value: _ValueT) -> None:
        self._value = value

    @property
    def is_just(self) -> bool:
        return True

    @property
    def is_nothing(self) -> bool:
        return False

    def from_just(self) -> _ValueT:
        return self._value

    def maybe(self, default: _DefaultT) -> _ValueT:  # noqa: ARG002 - there is a value
        return self._value

    def fmap(self, function: Callable[[_ValueT], _MappedT]) -> "_Fresh[_MappedT]":
        return _Fresh(function(self._value))


class KeyStorage(Storage):
    """Pass every read and write straight to :class:`~xmpp_onion.store.Keys`.

    The library's own cache is off: it would keep values that a roll-back has
    undone, and the next message would be encrypted with a key used before.
    """

    def __init__(self, keys: Keys) -> None:
        super().__init__(disable_cache=True)
        self._keys = keys
        self._changed: Callable[[str], None] = _nothing

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call ``changed`` with each key that is stored or deleted from now on."""
        self._changed = changed

    @property
    def changing(self) -> Collection[str]:
        """The keys that an open transaction has changed."""
        return self._keys.changing

    async def load_text(self, key: str) -> str | None:
        """Return a value as the JSON text that is stored, or None."""
        return await self._keys.load(key)

    async def store_text(self, key: str, text: str) -> None:
        """Store a value that is JSON text already."""
        self._changed(key)
        await self._keys.store(key, text)

    async def _load(self, key: str) -> Maybe[JSONType]:
        text = await self._keys.load(key)
        return Nothing() if text is None else _Fresh(cast("JSONType", json.loads(text)))

    async def _store(self, key: str, value: JSONType) -> None:
        self._changed(key)
        await self._keys.store(key, json.dumps(value, separators=(",", ":")))

    async def _delete(self, key: str) -> None:
        self._changed(key)
        await self._keys.delete(key)

    async def names(self, prefix: str) -> list[str]:
        """Return the keys that begin with ``prefix``. Looks at every one there is."""
        return await self._keys.names(prefix)


def _nothing(_key: str) -> None:
    """Stand in until somebody watches."""
