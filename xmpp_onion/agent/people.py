"""What other processes may ask the holder about people."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from xmpp_onion.account import Receipts
from xmpp_onion.address import Introduction
from xmpp_onion.chat import Line, line
from xmpp_onion.client import Client
from xmpp_onion.contacts import ANSWER_TIMEOUT
from xmpp_onion.session import Contact

__all__ = ["FIELDS", "REQUESTS"]


async def _list(client: Client, request: Line) -> list[Line]:
    return [_contact_line(each) for each in await client.contacts(_timeout(request))]


async def _list_requests(client: Client, request: Line) -> list[Line]:  # noqa: ARG001 - one signature for all
    box = await client.requests()
    lines = [line(each) for each in box.waiting]
    if box.more:
        lines.append(
            {"v": 1, "event": "requests", "from": client.jid, "count": box.more}
        )
    return lines


async def _add(client: Client, request: Line) -> list[Line]:
    jid = str(request["jid"])
    await client.add_contact(jid, _timeout(request))
    who = Introduction(jid).jid if "?" in jid else jid  # a token is not printed
    return [_told({"jid": who}, "asked")]


async def _accept(client: Client, request: Line) -> list[Line]:
    await client.accept_contact(str(request["jid"]), _timeout(request))
    return [_told(request, "accepted")]


async def _refuse(client: Client, request: Line) -> list[Line]:
    await client.refuse_contact(str(request["jid"]), _timeout(request))
    return [_told(request, "refused")]


async def _refuse_all(client: Client, request: Line) -> list[Line]:
    waiting = (await client.requests()).waiting
    for each in waiting:
        await client.refuse_contact(each.sender, _timeout(request))
    return [_told({"jid": each.sender}, "refused") for each in waiting]


async def _remove(client: Client, request: Line) -> list[Line]:
    await client.remove_contact(str(request["jid"]), _timeout(request))
    return [_told(request, "removed")]


async def _block(client: Client, request: Line) -> list[Line]:
    await client.block(str(request["jid"]), _timeout(request))
    return [_told(request, "blocked")]


async def _unblock(client: Client, request: Line) -> list[Line]:
    await client.unblock(str(request["jid"]), _timeout(request))
    return [_told(request, "unblocked")]


async def _list_blocked(client: Client, request: Line) -> list[Line]:
    blocked = await client.blocked(_timeout(request))
    return [_told({"jid": each}, "blocked") for each in blocked]


async def _tell_receipts(client: Client, request: Line) -> list[Line]:
    """Tell contacts from now on that their messages arrived, or do not."""
    receipts = Receipts.CONTACTS if request["on"] else Receipts.NEVER
    client.account = client.account.update(lambda now: replace(now, receipts=receipts))
    return [{"v": 1, "event": "receipts", "jid": client.jid, "on": bool(request["on"])}]


def _timeout(request: Line) -> float:
    timeout = request.get("timeout")
    return float(timeout) if isinstance(timeout, int | float) else ANSWER_TIMEOUT


def _told(request: Line, state: str) -> Line:
    return {"v": 1, "event": "contact", "jid": request["jid"], "state": state}


def _contact_line(contact: Contact) -> Line:
    told = _told({"jid": contact.jid}, contact.subscription)
    return told | {"asked": contact.ask}


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "contacts": _list,
    "contact-requests": _list_requests,
    "add-contact": _add,
    "accept-contact": _accept,
    "refuse-contact": _refuse,
    "refuse-contacts": _refuse_all,
    "remove-contact": _remove,
    "block": _block,
    "unblock": _unblock,
    "blocked": _list_blocked,
    "receipts": _tell_receipts,
}
"""What does a request, by the name in its ``do``."""
_ABOUT_NOBODY = {_list, _list_requests, _refuse_all, _list_blocked}
# What each of them cannot do without.
FIELDS: Mapping[object, frozenset[str]] = {
    **{do: frozenset({"jid"}) for do in REQUESTS.values()},
    **dict.fromkeys(_ABOUT_NOBODY, frozenset()),
    _tell_receipts: frozenset({"on"}),
}
"""What a request cannot do without, by what does it."""
