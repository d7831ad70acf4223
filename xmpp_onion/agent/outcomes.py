"""What became of a message that was sent earlier, and who was shown it.

No connection is needed, so that it works where nobody holds the account, too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.chat import Delivery, Line, line
from xmpp_onion.client import Client
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.errors import UnknownMessageError
from xmpp_onion.rooms.shown import Shown
from xmpp_onion.store import Database

__all__ = ["FIELDS", "REQUESTS", "tell_alone"]


async def _tell_state(client: Client, request: Line) -> list[Line]:
    return [line(_known(await client.delivery(str(request["id"])), request))]


async def _tell_readers(client: Client, request: Line) -> list[Line]:
    delivery = _known(await client.delivery(str(request["id"])), request, client.jid)
    readers = await client.displayed_by(delivery.id)
    return [_reader_line(delivery, each) for each in readers]


async def tell_alone(account: Account, request: Line) -> list[Line]:
    """Do the same in the store of an account that no process holds.

    Raises:
        StoreError: It cannot be opened.
        UnknownMessageError: Nothing is known of that message.
    """
    async with Database.open(
        account.store_path,
        key=account.store_key,
        create=not account.device,
        witness=account.state_folder,
    ) as database:
        found = await Deliveries(database).load(str(request["id"]))
        if request["do"] == "sent":
            return [line(_known(found, request))]
        delivery = _known(found, request, account.jid)
        shown = Shown(database, news=asyncio.Event())
        readers = await shown.who(delivery.to, delivery.id)
        return [_reader_line(delivery, each) for each in readers]


def _known(
    delivery: Delivery | None, request: Line, own: JID | None = None
) -> Delivery:
    """Return what is known; refuse a message that was not said in the room asked for.

    Args:
        delivery: What was found.
        request: What is asked; with a room if ``own`` is given.
        own: Who we are: a bare name is a room of our own server.
    """
    room = str(request["room"]) if own is not None else ""
    if own is not None and "@" not in room:
        room = f"{room}@muc.{own.domain}"
    if delivery is None or (room and delivery.to != JID(room).bare):
        raise UnknownMessageError(
            "nothing is known of that message",
            why=f"none of that id was sent to {room}" if room else "",
            fix="`xmpp-onion send --json` shows the id; the newest 10,000 are known.",
        )
    return delivery


def _reader_line(delivery: Delivery, who: JID) -> Line:
    return {
        "v": 1,
        "event": "shown",
        "id": delivery.id,
        "room": delivery.to,
        "jid": who,
    }


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "sent": _tell_state,
    "shown-in-room": _tell_readers,
}
"""What does a request, by the name in its ``do``."""
# What each of them cannot do without.
FIELDS: Mapping[object, frozenset[str]] = {
    _tell_state: frozenset({"id"}),
    _tell_readers: frozenset({"room", "id"}),
}
"""What a request cannot do without, by what does it."""
