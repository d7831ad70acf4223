"""Sends what waited for a login: the task of whoever holds the account."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from xmpp_onion.agent.spool import Spool, Spooled
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.errors import XmppOnionError

if TYPE_CHECKING:
    from xmpp_onion.address import JID

__all__ = ["Spooler"]

log = logging.getLogger(__name__)

# Seconds between two looks: what is put there beside a process that logs in right now
# is seen by it.
_PAUSE: Final = 20.0
# Seconds that the keys of one recipient may take; the others wait.
_PATIENCE: Final = 60.0
# Recipients of whom it is told why nothing goes to them.
_TOLD: Final = 10


class Spooler:
    """Gives what waits to the client, in its order for each recipient.

    What cannot be encrypted stays, with all that is behind it for the same recipient,
    and is tried again at the next look.

    Args:
        client: Logged in.
        pause: Seconds between two looks.
    """

    def __init__(self, client: Client, *, pause: float = _PAUSE) -> None:
        self._client = client
        self._spool = Spool(client.account)
        self._pause = pause
        self._held: dict[JID, XmppOnionError] = {}

    async def run(self) -> None:
        """Look again and again; never returns."""
        while True:
            await self.look()
            await asyncio.sleep(self._pause)

    async def look(self) -> None:
        """Give to the client what waits now."""
        held: dict[JID, XmppOnionError] = {}
        for name, waiting in self._spool.all():
            if waiting.to in held:
                continue
            try:
                await self._send(waiting)
            except XmppOnionError as error:
                held[waiting.to] = error
                if waiting.to not in self._held:
                    log.warning("a text that waits is not sent: %s", error.why)
            else:
                self._spool.remove(name)
        self._held = held

    def as_fields(self) -> Line:
        """Return what a status tells of it."""
        return {
            "spooled": len(self._spool.names()),
            "held": [
                {"to": to, "why": error.why or error.what, "fix": error.fix}
                for to, error in list(self._held.items())[:_TOLD]
            ],
        }

    async def _send(self, waiting: Spooled) -> None:
        if await self._client.delivery(waiting.id) is not None:
            return  # it was accepted, and the process died before it forgot this
        remaining = waiting.remaining(time.time_ns())
        if remaining is not None and not remaining:
            return  # its time is over
        await self._client.queue(
            waiting.to,
            waiting.text,
            expires=remaining,
            timeout=_PATIENCE,
            message_id=waiting.id,
        )
