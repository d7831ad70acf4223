"""How the process that holds an account is, and how it is told to end."""

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime

from xmpp_onion.agent.spooler import Spooler
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.errors import StoreLockedError
from xmpp_onion.transport import Tor

__all__ = ["Standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a holder says of itself.

    Attributes:
        client: Logged in.
        since: When it was.
        spooler: Sends what waited for it.
        stop: Set when the holder shall end; None for one that only its user ends,
            such as `chat`.
    """

    client: Client
    since: datetime
    spooler: Spooler
    stop: asyncio.Event | None = None

    async def answer(self, request: Line) -> list[Line] | None:
        """Answer what is about the holder itself; None if the request is not."""
        match request.get("do"):
            case "status":
                return [await self._status()]
            case "stop":
                return [self._end()]
            case _:
                return None

    async def _status(self) -> Line:
        tor = self.client.tor
        return {
            "v": 1,
            "event": "agent",
            "state": "waiting" if self.client.is_away else "connected",
            "jid": self.client.jid,
            "agent": self.stop is not None,
            "queue": await self.client.queued(),
            **self.spooler.as_fields(),
            "tor": str(tor.socks) if isinstance(tor, Tor) else None,
            "since": f"{self.since:%Y-%m-%dT%H:%M:%SZ}",
            "pid": os.getpid(),
        }

    def _end(self) -> Line:
        if self.stop is None:
            return StoreLockedError(
                "the process that holds the account was left alone",
                why="it is no agent: a person listens or talks, or a bot runs",
                fix=f"End it where it runs; it is process {os.getpid()}.",
            ).as_line()
        self.stop.set()
        return {"v": 1, "event": "agent", "state": "stopping", "jid": self.client.jid}
