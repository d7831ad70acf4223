"""Which messages ended the process that tried to read them, kept on the disk.

A message that kills whoever reads it comes back with each login, and a count in
memory dies with the process. To write down each attempt would cost a transaction for
each message. So that is done only after a process ended without a word, and only for
what it reads first: what killed it is among that.
"""

import json
from types import TracebackType
from typing import Final, Self

from xmpp_onion.errors import XmppOnionError
from xmpp_onion.store.database import Database
from xmpp_onion.store.keys import Keys

__all__ = ["Attempts"]

_PLACE: Final = "/xmpp-onion/attempts"
# Messages that are written down before they are tried, after an end without a word:
# those after the cursor of the archive, and those that wait for keys.
_WATCHED: Final = 64
# How often one may be in hand when a process ends, after the first time. Power cuts
# and kills by hand happen, too; that four meet one message, and nothing else, is no
# chance any more.
_DEATHS: Final = 3


class Attempts:
    """Entered while a process uses the account.

    Args:
        database: Of the account.
        keys: Where the count is kept.
    """

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys
        self._counts: dict[str, int] = {}
        self._left = 0

    async def __aenter__(self) -> Self:
        async with self._database.transaction():
            kept = await self._keys.load(_PLACE)
            if kept is not None:
                self._counts = dict(json.loads(kept))
                self._left = _WATCHED
            await self._write()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if _is_ordinary(error):
            async with self._database.transaction():
                await self._keys.delete(_PLACE)

    async def may_try(self, key: str) -> bool:
        """Tell whether a message may be read; note that it is tried, if need be.

        Args:
            key: Names the message.
        """
        before = self._counts.get(key, 0)
        if before >= _DEATHS:
            return False
        if self._left > 0 or before:
            self._left -= 1
            self._counts.pop(key, None)
            self._counts[key] = before + 1
            if len(self._counts) > _WATCHED:
                del self._counts[next(iter(self._counts))]
            async with self._database.transaction():
                await self._write()
        return True

    async def note_done(self, key: str) -> None:
        """Note that reading a message ended nothing. In a transaction."""
        if self._counts.pop(key, None) is not None:
            await self._write()

    async def _write(self) -> None:
        await self._keys.store(_PLACE, json.dumps(self._counts))


def _is_ordinary(error: BaseException | None) -> bool:
    """Tell whether no message can be to blame: a network, a disk, or a caller is."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_ordinary(one) for one in error.exceptions)
    return isinstance(error, XmppOnionError | OSError) or not isinstance(
        error, Exception
    )
