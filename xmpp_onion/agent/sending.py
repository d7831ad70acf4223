"""What can be asked about texts: to send one to many, to feel something about one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from xmpp_onion.account import Account, parse_addressee
from xmpp_onion.address import JID
from xmpp_onion.agent.files import expires
from xmpp_onion.agent.spool import Spool
from xmpp_onion.chat import DeliveryState, Line, line
from xmpp_onion.client import Client
from xmpp_onion.errors import RoomError, SessionError, XmppOnionError
from xmpp_onion.outgoing import ACK_TIMEOUT

__all__ = ["FIELDS", "REQUESTS", "queue_alone"]

# Seconds that keys may take before a text that is only to be queued is kept as it is.
_KEYS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be sent, and how."""

    text: str
    wait: str
    timeout: float
    expires: timedelta | None
    mentions: tuple[JID, ...]
    correct: str
    queue: bool

    @classmethod
    def read(cls, request: Line) -> "_Wish":
        """Read a request.

        Raises:
            AddressError: Somebody who is mentioned is nobody.
        """
        timeout, named = request.get("timeout"), request.get("mentions")
        return cls(
            text=str(request["text"]),
            wait=str(request.get("wait")),
            timeout=float(timeout) if isinstance(timeout, int | float) else ACK_TIMEOUT,
            expires=expires(request),
            mentions=_people(named),
            correct=str(request.get("correct") or ""),
            queue=request.get("queue") is True,
        )


def _people(named: object) -> tuple[JID, ...]:
    """Read who is meant, each once; all of them before anything is done."""
    texts = named if isinstance(named, list) else []
    return tuple(dict.fromkeys(parse_addressee(str(each)) for each in texts))


async def _send(client: Client, request: Line) -> list[Line]:
    """Send to all at once; one line each, in the order asked for."""
    wish, to = _Wish.read(request), _people(request["to"])
    return list(await asyncio.gather(*(_send_one(client, each, wish) for each in to)))


async def _send_one(client: Client, to: JID, wish: _Wish) -> Line:
    try:
        if wish.queue:
            return await _queue(client, to, wish)
        if wish.wait == "none":
            delivery = await client.queue(to, wish.text, expires=wish.expires)
        elif wish.correct:
            delivery = await client.correct(
                to, wish.correct, wish.text, expires=wish.expires, timeout=wish.timeout
            )
        else:
            delivery = await client.send(
                to,
                wish.text,
                mentions=wish.mentions,
                expires=wish.expires,
                timeout=wish.timeout,
            )
        if wish.wait == "receipt":
            received = DeliveryState.RECEIVED
            delivery = await client.wait(delivery.id, received, timeout=wish.timeout)
        return line(delivery)
    except XmppOnionError as error:
        return {**error.as_line(), "to": to}


async def _queue(client: Client, to: JID, wish: _Wish) -> Line:
    """Keep a text, encrypted if its keys are here or come soon, else for later."""
    try:
        seconds = min(wish.timeout, _KEYS_SECONDS)
        return line(
            await client.queue(to, wish.text, expires=wish.expires, timeout=seconds)
        )
    except RoomError:
        raise
    except SessionError:
        # Nobody could be asked for keys.
        return Spool(client.account).put(to, wish.text, wish.expires).as_line()


async def _react(client: Client, request: Line) -> list[Line]:
    """Say what we feel about a message; nothing any more without an emoji."""
    timeout, emojis = request.get("timeout"), request["emojis"]
    delivery = await client.react(
        str(request["to"]),
        str(request["id"]),
        *(map(str, emojis) if isinstance(emojis, list) else ()),
        timeout=float(timeout) if isinstance(timeout, int | float) else ACK_TIMEOUT,
    )
    return [line(delivery)]


async def _retract(client: Client, request: Line) -> list[Line]:
    """Ask others to forget a message of ours."""
    timeout = request.get("timeout")
    delivery = await client.retract(
        str(request["to"]),
        str(request["id"]),
        timeout=float(timeout) if isinstance(timeout, int | float) else ACK_TIMEOUT,
    )
    return [line(delivery)]


def queue_alone(account: Account, request: Line) -> list[Line]:
    """Keep texts for who logs in next; one line each.

    Raises:
        StoreError: One cannot be written; those before it are kept.
    """
    wish, spool = _Wish.read(request), Spool(account)
    return [
        spool.put(each, wish.text, wish.expires).as_line()
        for each in _people(request["to"])
    ]


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "send": _send,
    "react": _react,
    "retract": _retract,
}
"""What does a request, by the name in its ``do``."""
# What each of them cannot do without.
FIELDS: Mapping[object, frozenset[str]] = {
    _send: frozenset({"to", "text"}),
    _react: frozenset({"to", "id", "emojis"}),
    _retract: frozenset({"to", "id"}),
}
"""What a request cannot do without, by what does it."""
