"""What the library knows of devices, read once and kept until it changes.

It reads seven rows for each device, for each message. What it makes of them are
values that never change, so the same ones serve until one of the rows does.
"""

from collections.abc import Awaitable, Callable

import omemo

from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["Remembered"]

# Accounts whose devices are kept in memory, the latest: a large room. One with a
# full list takes 20 kB.
_ACCOUNTS = 256

_Infos = frozenset[omemo.DeviceInformation]


class Remembered:
    """The devices of each account. In transactions; a roll-back has to forget.

    Args:
        storage: Where the library keeps its records; it tells of each change.
    """

    def __init__(self, storage: KeyStorage) -> None:
        self._storage = storage
        self._infos: dict[str, _Infos] = {}
        storage.watch(self._on_change)

    async def of(self, jid: str, read: Callable[[str], Awaitable[_Infos]]) -> _Infos:
        """Return the devices of an account.

        Args:
            jid: The account, bare.
            read: How the library reads them, and fetches what it misses.
        """
        infos = self._infos.pop(jid, None)
        if infos is None:
            infos = await read(jid)
            ids = (await self._storage.load_list(f"/devices/{jid}/list", int)).maybe([])
            if len(infos) != len(ids):
                return infos  # a key was missing, which may be there the next time
        self._infos[jid] = infos
        if len(self._infos) > _ACCOUNTS:
            del self._infos[next(iter(self._infos))]
        return infos

    def at_hand(self, jid: str) -> _Infos | None:
        """Return what is in memory of an account, also outside of transactions.

        None if that is nothing, or what an open transaction is changing.
        """
        is_changing = any(_account(key) == jid for key in self._storage.changing)
        return None if is_changing else self._infos.get(jid)

    def forget(self) -> None:
        """Read everything anew: a roll-back has undone some of it."""
        self._infos.clear()

    def _on_change(self, key: str) -> None:
        jid = _account(key)
        if jid is not None:
            self._infos.pop(jid, None)


def _account(key: str) -> str | None:
    """Return whose devices a row is about; None for all other rows."""
    match key.split("/", 3):
        case ["", "devices" | "trust", jid, _]:
            return jid
    return None
