"""What a session knows again in the next process: its name, and the server's ways."""

import secrets
from typing import Final

from xmpp_onion.session import Remembered
from xmpp_onion.store import Database, Keys

__all__ = ["SessionMemory"]

# Where this device's XMPP resource is kept.
_RESOURCE: Final = "/xmpp-onion/resource"
# Where it is kept what the server offers, with a token that stands for the password.
_SERVER: Final = "/xmpp-onion/server"


class SessionMemory:
    """Keeps both in the account's store.

    Args:
        database: The store.
        keys: Its texts.
    """

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    async def resource(self) -> str:
        """Return the random name of this device at the server, always the same.

        The server then knows a new login for that of a process that died, and
        delivers again what that one had not handled.
        """
        async with self._database.transaction():
            resource = await self._keys.load(_RESOURCE)
            if resource is None:
                resource = secrets.token_hex(8)
                await self._keys.store(_RESOURCE, resource)
        return resource

    async def known(self, offered: str = "") -> Remembered:
        """Return what is known of the server.

        Args:
            offered: What was known when the account was made.
        """
        return Remembered.parse(await self._keys.load(_SERVER) or offered or "{}")

    async def remember(self, known: Remembered) -> None:
        """Keep what is known of the server."""
        async with self._database.transaction():
            await self._keys.store(_SERVER, known.dump())
