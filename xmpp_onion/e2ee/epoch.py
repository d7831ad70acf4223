"""Which sessions may be sent with: none that an old copy of the store brought back.

A double ratchet that is put back to an older state would encrypt other texts with
keys that it used before: whoever sees both can compare them, and the other side
refuses the second as a duplicate. So a roll-back begins a new epoch, and only a
session that was begun in it is sent with. The others still decrypt what was on its
way: decrypting again with a key shows nobody anything.
"""

import base64
from typing import TYPE_CHECKING

from xmpp_onion.e2ee.storage import KeyStorage

if TYPE_CHECKING:
    from omemo.types import JSONType

__all__ = ["Epoch"]

_NUMBER = "/xmpp-onion/epoch"
_FRESH = "/xmpp-onion/fresh"
# Sessions of one device that are told apart: the one in use, and those that were
# replaced and are kept. Older ones are gone from the store as well.
_KEPT = 8


class Epoch:
    """The sessions that were begun since the last roll-back.

    Until the first one it costs a look into memory for each session.

    Attributes:
        is_mute: Whether what was encrypted last was with a retired session: the
            library answers with whatever session it decrypted with. It must not
            leave.
    """

    def __init__(self, storage: KeyStorage) -> None:
        self.is_mute = False
        self._storage = storage

    async def is_on(self) -> bool:
        """Tell whether there was a roll-back at all."""
        return await self._storage.load_text(_NUMBER) is not None

    async def begin(self) -> None:
        """Retire every session that there is. In a transaction."""
        await self._storage.store(_NUMBER, await self._number() + 1)

    async def note(self, place: str, ephemeral_key: bytes) -> None:
        """Remember a session that was begun now. In a transaction.

        Args:
            place: The namespace, JID and device it is with.
            ephemeral_key: Of its key exchange; tells it from all others.
        """
        number = await self._number()
        if not number:
            return
        mark, fresh = _mark(number, ephemeral_key), await self._fresh(place)
        if mark not in fresh:
            kept: list[JSONType] = [mark, *fresh[: _KEPT - 1]]
            await self._storage.store(f"{_FRESH}/{place}", kept)

    async def is_retired(self, place: str, ephemeral_key: bytes) -> bool:
        """Tell whether a session was begun before the last roll-back.

        Args:
            place: As for :meth:`note`.
            ephemeral_key: As for :meth:`note`.
        """
        number = await self._number()
        if not number:
            return False
        return _mark(number, ephemeral_key) not in await self._fresh(place)

    async def _number(self) -> int:
        return (await self._storage.load_primitive(_NUMBER, int)).maybe(0)

    async def _fresh(self, place: str) -> list[str]:
        found = await self._storage.load_list(f"{_FRESH}/{place}", str)
        return list(found.maybe([]))


def _mark(number: int, ephemeral_key: bytes) -> str:
    return f"{number}:{base64.b64encode(ephemeral_key).decode()}"
