"""What is believed of the devices of whom a person writes to, for the line below."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from xmpp_onion.address import JID
from xmpp_onion.cli.output import visible
from xmpp_onion.errors import XmppOnionError

if TYPE_CHECKING:
    from xmpp_onion.client import Client

__all__ = ["Belief"]

# A talk is as safe as the device that is believed least.
_WORST_FIRST: Final = ("distrusted", "undecided", "tofu", "verified")


class Belief:
    """Looks at somebody's devices beside the talk; the worst one gives the word.

    Attributes:
        word: As `trust list` says it; empty where it is not known, and of a room, where
            each message says it.

    Args:
        client: Whose.
        changed: Called when the word is another.
    """

    def __init__(self, client: "Client", changed: Callable[[], None]) -> None:
        self.word = ""
        self._client = client
        self._changed = changed
        self._of: JID | None = None
        self._due = asyncio.Event()

    def look(self, to: JID | None) -> None:
        """Look anew at the devices of whom the person writes to."""
        if to != self._of:
            self._of, self.word = to, ""
        if to is not None and self._client.rooms.state(to.bare) is None:
            self._due.set()

    def look_if_unknown(self, to: JID | None) -> None:
        """Look once more, if nobody has shown a device until now."""
        if not self.word:
            self.look(to)

    async def run(self) -> None:
        """Look when it is asked for; never returns. Who does not answer is no error."""
        while True:
            await self._due.wait()
            self._due.clear()
            if self._of is not None:
                with suppress(XmppOnionError):
                    await self._look(self._of)

    async def _look(self, to: JID) -> None:
        devices = await self._client.devices(to)
        words = {each.trust.word for each in devices if each.active}
        if to == self._of:
            known = [word for word in _WORST_FIRST if word in words]
            self.word = visible([*known, *sorted(words), ""][0])
            self._changed()
