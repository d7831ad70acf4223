"""What a bot remembers: JSON values by their names, in the account's store.

It lies beside the keys: private to the user, and encrypted if the store is.
"""

import json
from typing import Protocol

__all__ = ["Memory", "Notebook"]


class Notebook(Protocol):
    """Where texts are kept; a ``Client`` has one."""

    async def load(self, key: str) -> str | None:
        """Return the text of a key; None if there is none."""

    async def store(self, key: str, text: str | None) -> None:
        """Set the text of a key, on the disk when it returns; None takes it away."""

    async def keys(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with ``prefix``, in their order."""


class Memory:
    """Values by their names; each call is on the disk when it returns.

    Args:
        notes: Where they are kept.
        prefix: Stands before each name there.
    """

    def __init__(self, notes: Notebook, prefix: str) -> None:
        self._notes = notes
        self._prefix = prefix

    async def get(self, key: str, default: object = None) -> object:
        """Return a value, as JSON knows it: a tuple comes back as a list."""
        text = await self._notes.load(self._prefix + key)
        return default if text is None else json.loads(text)

    async def set(self, key: str, value: object) -> None:
        """Keep a value.

        Raises:
            TypeError: JSON cannot say it.
        """
        text = json.dumps(value, ensure_ascii=False)
        await self._notes.store(self._prefix + key, text)

    async def delete(self, key: str) -> None:
        """Forget a value; one that is not there is no error."""
        await self._notes.store(self._prefix + key, None)

    async def keys(self, prefix: str = "") -> list[str]:
        """Return the names that begin with ``prefix``, in their order."""
        found = await self._notes.keys(self._prefix + prefix)
        return [key[len(self._prefix) :] for key in found]
