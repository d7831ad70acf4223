"""All that the process that holds an account can be asked for, by its name."""

from collections.abc import Awaitable, Callable, Mapping

from xmpp_onion.agent import (
    checks,
    files,
    keys,
    outcomes,
    people,
    rehearsal,
    rooms,
    sending,
    timers,
    tokens,
)
from xmpp_onion.chat import Line
from xmpp_onion.client import Client
from xmpp_onion.errors import XmppOnionError

__all__ = ["perform"]


async def perform(
    client: Client, request: Line, tell: Callable[[Line], None] = lambda _line: None
) -> list[Line]:
    """Do what ``request`` asks for and return the lines that tell about it.

    What goes wrong is a line with the event ``error``, too: it has to travel.

    Args:
        client: Who does it.
        request: ``{"do": name, …}``; the names are the keys of ``_REQUESTS`` and of
            ``files.REQUESTS``.
        tell: Called meanwhile with lines that say how far it is.
    """
    name = str(request.get("do"))
    do, carry = _REQUESTS.get(name), files.REQUESTS.get(name)
    needed = _FIELDS.get(do) if carry is None else files.FIELDS[carry]
    if needed is None or not needed <= request.keys():
        return [
            XmppOnionError(
                "the process that holds the account does not know this request",
                fix="Use the same version of xmpp-onion for both.",
            ).as_line()
        ]
    try:
        if carry is not None:
            return await carry(client, request, tell)
        return [] if do is None else await do(client, request)
    except XmppOnionError as error:
        return [error.as_line()]


_REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    **sending.REQUESTS,
    **rehearsal.REQUESTS,
    **keys.REQUESTS,
    **people.REQUESTS,
    **rooms.REQUESTS,
    **checks.REQUESTS,
    **timers.REQUESTS,
    **outcomes.REQUESTS,
    **tokens.REQUESTS,
}
# What each of them cannot do without.
_FIELDS: Mapping[object, frozenset[str]] = {
    **sending.FIELDS,
    **rehearsal.FIELDS,
    **keys.FIELDS,
    **people.FIELDS,
    **rooms.FIELDS,
    **checks.FIELDS,
    **timers.FIELDS,
    **outcomes.FIELDS,
    **tokens.FIELDS,
}
