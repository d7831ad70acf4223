"""What other processes may ask the holder about rooms."""

from collections.abc import Awaitable, Callable, Mapping

from xmpp_onion.account import parse_recipient
from xmpp_onion.chat import Affiliation, Line, RoomState, doubts, line
from xmpp_onion.client import Client
from xmpp_onion.errors import RoomError
from xmpp_onion.rooms import ROOM_TIMEOUT, Room

__all__ = ["FIELDS", "REQUESTS"]


async def _list(client: Client, request: Line) -> list[Line]:
    if request.get("bookmarks"):
        marks = await client.rooms.marks.all(_timeout(request))
        return [
            {
                "v": 1,
                "event": "bookmark",
                "room": mark.room,
                "nick": mark.nick or None,
                "joined": mark.is_joined,
            }
            for mark in marks
        ]
    await client.rooms.settle(_timeout(request))
    lines = [_room_line(each) for each in client.rooms.all()]
    invitations = client.rooms.invitations
    waiting = len(await invitations.all()) + await invitations.more()
    if waiting:
        lines.append(_invitations_line(client, "invitations", waiting))
    return lines


async def _create(client: Client, request: Line) -> list[Line]:
    room = _room(client, request)
    nick = str(request.get("nick", ""))
    return _now(await client.create_room(room.jid, nick, timeout=_timeout(request)))


async def _join(client: Client, request: Line) -> list[Line]:
    room = _room(client, request)
    nick = str(request.get("nick", ""))
    return _now(await client.join(room.jid, nick, timeout=_timeout(request)))


async def _leave(client: Client, request: Line) -> list[Line]:
    room = _room(client, request)
    if request.get("destroy"):
        await room.destroy(timeout=_timeout(request))
    else:
        await room.leave(timeout=_timeout(request))
    state = "destroyed" if request.get("destroy") else "left"
    return [{"v": 1, "event": "room-state", "room": room.jid, "state": state}]


async def _invite(client: Client, request: Line) -> list[Line]:
    room, lines = _room(client, request), []
    for person in _people(request):
        await room.invite(
            person,
            through_room=bool(request.get("through_room")),
            timeout=_timeout(request),
        )
        lines.append(_member_line(room, person, "invited"))
    return lines


async def _kick(client: Client, request: Line) -> list[Line]:
    room, lines = _room(client, request), []
    affiliation = Affiliation.OUTCAST if request.get("ban") else Affiliation.NONE
    people = _people(request)
    if affiliation is Affiliation.NONE:
        members = await room.members(timeout=_timeout(request))
        if strangers := [each for each in people if each not in members]:
            raise RoomError(
                "nobody was taken out",
                why=f"no member of {room.jid}: {', '.join(strangers)}",
                fix=f"See who is: xmpp-onion room members {room.jid}; or keep them "
                "out from now on: --ban",
            )
    for person in people:
        await room.grant(person, affiliation, timeout=_timeout(request))
        lines.append(_member_line(room, person, affiliation))
    return lines


async def _grant(client: Client, request: Line) -> list[Line]:
    room, lines = _room(client, request), []
    affiliation = Affiliation(str(request["affiliation"]))
    for person in _people(request):
        await room.grant(person, affiliation, timeout=_timeout(request))
        lines.append(_member_line(room, person, affiliation))
    return lines


async def _take_out(client: Client, request: Line) -> list[Line]:
    room = _room(client, request)
    await room.take_out(
        str(request["author"]),
        str(request["id"]),
        str(request.get("reason", "")),
        allow_clear=bool(request.get("in_clear")),
        timeout=_timeout(request),
    )
    return [{"v": 1, "event": "room-state", "room": room.jid, "state": "moderated"}]


async def _set_subject(client: Client, request: Line) -> list[Line]:
    room = _room(client, request)
    await room.set_subject(
        str(request["subject"]),
        allow_clear=bool(request.get("in_clear")),
        timeout=_timeout(request),
    )
    return [{"v": 1, "event": "room-state", "room": room.jid, "state": "renamed"}]


async def _members(client: Client, request: Line) -> list[Line]:
    room = _room(client, request)
    members = await room.members(timeout=_timeout(request))
    state = room.state
    nicks: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    unaccepted: frozenset[str] = frozenset()
    if state is not None:
        unaccepted, doubtful = state.unaccepted, doubts(state)
        nicks = {each.jid: each.nick for each in state.occupants.values() if each.jid}
    return [
        _member_line(room, jid, affiliation)
        | {
            "here": jid in nicks,
            "nick": nicks.get(jid),
            "doubt": doubtful.get(nicks.get(jid, "")),
            "accepted": jid not in unaccepted,
        }
        for jid, affiliation in members.items()
    ]


async def _accept(client: Client, request: Line) -> list[Line]:
    room, people = _room(client, request), _people(request)
    await room.accept(*people)
    return [_member_line(room, person, "accepted") for person in people]


async def _be_strict(client: Client, request: Line) -> list[Line]:
    room = _room(client, request)
    await room.set_strict(strict=bool(request["on"]))
    state = "strict" if request["on"] else "not strict"
    return [{"v": 1, "event": "room-state", "room": room.jid, "state": state}]


async def _list_invitations(client: Client, request: Line) -> list[Line]:
    invitations = client.rooms.invitations
    if request.get("room"):
        room = _room(client, request)
        if not await invitations.refuse(room.jid):
            raise RoomError(
                f"nobody invites you into {room.jid}",
                condition="item-not-found",
                fix="See who does: xmpp-onion room invitations",
            )
        return [_refused_line(room.jid)]
    if request.get("everybody"):
        return [_refused_line(each) for each in await invitations.refuse_all()]
    lines = [line(each) for each in await invitations.all()]
    more = await invitations.more()
    if more:
        lines.append(_invitations_line(client, "more-invitations", more))
    return lines


def _room(client: Client, request: Line) -> Room:
    """Return the room that is meant; a bare name is one of our own server's."""
    text = str(request["room"])
    return client.room(text if "@" in text else f"{text}@muc.{client.jid.domain}")


def _people(request: Line) -> list[str]:
    people = request["people"]
    found = people if isinstance(people, list) else []
    return [parse_recipient(str(each)) for each in found]


def _timeout(request: Line) -> float:
    timeout = request.get("timeout")
    return float(timeout) if isinstance(timeout, int | float) else ROOM_TIMEOUT


def _now(room: Room) -> list[Line]:
    return [] if room.state is None else [_room_line(room.state)]


def _room_line(state: RoomState) -> Line:
    return {
        "v": 1,
        "event": "room",
        "room": state.jid,
        "nick": state.nick,
        "members": len(state.members),
        "here": len(state.occupants),
        "joined": state.is_joined,
        "private": state.is_private,
        "strict": state.is_strict,
        "unaccepted": sorted(state.unaccepted),
        "reason": state.why or None,
    }


def _invitations_line(client: Client, event: str, count: int) -> Line:
    return {"v": 1, "event": event, "jid": client.jid, "count": count}


def _refused_line(room: str) -> Line:
    return {"v": 1, "event": "room-state", "room": room, "state": "refused"}


def _member_line(room: Room, jid: str, state: str) -> Line:
    return {"v": 1, "event": "member", "room": room.jid, "jid": jid, "state": state}


REQUESTS: Mapping[str, Callable[[Client, Line], Awaitable[list[Line]]]] = {
    "rooms": _list,
    "create-room": _create,
    "join-room": _join,
    "leave-room": _leave,
    "invite-to-room": _invite,
    "kick-from-room": _kick,
    "grant-in-room": _grant,
    "moderate-in-room": _take_out,
    "room-subject": _set_subject,
    "room-members": _members,
    "accept-in-room": _accept,
    "strict-room": _be_strict,
    "room-invitations": _list_invitations,
}
"""What does a request, by the name in its ``do``."""
_WITH_PEOPLE = {_invite, _kick, _accept, _grant}
# What each of them cannot do without.
FIELDS: Mapping[object, frozenset[str]] = {
    **{do: frozenset({"room"}) for do in REQUESTS.values()},
    **dict.fromkeys(_WITH_PEOPLE, frozenset({"room", "people"})),
    _be_strict: frozenset({"room", "on"}),
    _grant: frozenset({"room", "people", "affiliation"}),
    _take_out: frozenset({"room", "author", "id"}),
    _set_subject: frozenset({"room", "subject"}),
    _list: frozenset(),
    _list_invitations: frozenset(),
}
"""What a request cannot do without, by what does it."""
