"""How the process that holds an account is, and how it is told to end."""

import os
from asyncio import Event
from datetime import UTC, datetime

from xmpp_onion.address import JID
from xmpp_onion.agent.loan import Loan
from xmpp_onion.agent.spooler import Spooler
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.errors import StoreLockedError
from xmpp_onion.transport import Tor

__all__ = ["Standing"]


class Standing:
    """What a holder says of itself, also while it logs in.

    Args:
        jid: Whose account it holds.
        stop: Set when the holder shall end; None for one that only its user ends,
            such as `chat`.
        loan: What an agent lent it; None if the account is its own.
    """

    def __init__(self, jid: JID, stop: Event | None, loan: Loan | None) -> None:
        self._jid = jid
        self._stop = stop
        self._loan = loan
        self._client: Client | None = None
        self._spooler: Spooler | None = None
        self._since = datetime.now(UTC)

    def begin(self, client: Client, spooler: Spooler) -> None:
        """Tell of a login from now on."""
        self._client, self._spooler = client, spooler
        self._since = datetime.now(UTC)

    def end(self) -> None:
        """Tell that there is none any more."""
        self._client = self._spooler = None

    async def answer(self, request: Line) -> list[Line] | None:
        """Answer what is about the holder itself; None if the request is not."""
        match request.get("do"):
            case "status":
                return [await self._status()]
            case "stop":
                return [await self._end()]
            case "lend":
                return [self._keep()]
            case _:
                return None

    async def _status(self) -> Line:
        client, spooler = self._client, self._spooler
        is_there = client is not None and not client.is_away
        line: Line = {
            "v": 1,
            "event": "agent",
            "state": "connected" if is_there else "waiting",
            "jid": self._jid,
            "agent": self._stop is not None,
            "lent": None,
            "pid": os.getpid(),
        }
        if client is not None and spooler is not None:
            tor = client.tor
            line |= {
                "queue": await client.queued(),
                **spooler.as_fields(),
                "tor": str(tor.socks) if isinstance(tor, Tor) else None,
                "since": f"{self._since:%Y-%m-%dT%H:%M:%SZ}",
            }
        return line | self._lent()

    def _lent(self) -> Line:
        """Return what a borrower says instead: it speaks for the agent as well."""
        if self._loan is None or self._loan.is_over:
            return {}
        return {"agent": True, "pid": self._loan.lender, "lent": self._loan.as_field()}

    async def _end(self) -> Line:
        line: Line = {"v": 1, "event": "agent", "state": "stopping", "jid": self._jid}
        if self._stop is not None:
            self._stop.set()
            return line
        lent = self._lent()
        if not lent or self._loan is None:
            return StoreLockedError(
                "the process that holds the account was left alone",
                why="it is no agent: a person listens or talks, or a bot runs",
                fix=f"End it where it runs; it is process {os.getpid()}.",
            ).as_line()
        if not await self._loan.end_lender():
            return StoreLockedError(
                "the agent has not ended",
                why="it does not answer",
                fix=f"End it yourself: kill {self._loan.lender}",
            ).as_line()
        return line | {"lent": lent["lent"]}

    def _keep(self) -> Line:
        return StoreLockedError(
            "the account is not lent",
            why=f"process {os.getpid()} holds it, and is no agent"
            if self._stop is None
            else "one program of the same user has it at a time, and others wait",
            fix="End it where it runs, or let it send for you: xmpp-onion send",
        ).as_line()
