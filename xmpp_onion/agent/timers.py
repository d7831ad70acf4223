"""How long what we say in a conversation may be kept: asked for, and set.

No connection is needed, so that it works where nobody holds the account, too.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from xmpp_onion.account import Account, parse_addressee
from xmpp_onion.address import JID
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.store import Database
from xmpp_onion.timers import Timers

__all__ = ["FIELDS", "REQUESTS", "turn_alone"]


async def _turn(client: Client, request: Line) -> list[Line]:
    to = _place(request, client.jid)
    if "seconds" in request:
        await client.set_timer(to, _timer(request))
    return [_line(to, await client.timer(to))]


async def turn_alone(account: Account, request: Line) -> Line:
    """Do the same in the store of an account that no process holds.

    Raises:
        StoreError: It cannot be opened or written.
    """
    to = _place(request, account.jid)
    async with Database.open(
        account.store_path,
        key=account.store_key,
        create=not account.device,
        witness=account.state_folder,
    ) as database:
        timers = Timers(database)
        if "seconds" in request:
            await timers.set(to, _timer(request))
        return _line(to, await timers.of(to))


def _place(request: Line, own: JID) -> JID:
    """Return whose conversation is meant; a bare name is a room of our own server."""
    text = str(request["jid"])
    return parse_addressee(text if "@" in text else f"{text}@muc.{own.domain}")


def _timer(request: Line) -> timedelta | None:
    seconds = request["seconds"]
    return timedelta(seconds=seconds) if isinstance(seconds, int) else None


def _line(to: JID, timer: timedelta | None) -> Line:
    seconds = None if timer is None else round(timer.total_seconds())
    return {"v": 1, "event": "timer", "jid": to, "seconds": seconds}


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "timer": _turn
}
"""What does a request, by the name in its ``do``."""
# What it cannot do without.
FIELDS: Mapping[object, frozenset[str]] = {_turn: frozenset({"jid"})}
"""What a request cannot do without, by what does it."""
