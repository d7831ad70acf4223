"""The rooms of a talk: which there are, and who is in."""

import shlex
from collections.abc import Awaitable, Callable, Mapping

from xmpp_onion.cli.chat_talk import Talk
from xmpp_onion.cli.chat_words import Typed
from xmpp_onion.cli.output import visible
from xmpp_onion.errors import UsageError
from xmpp_onion.rooms import Room

__all__ = ["ROOMS"]


async def _rooms(talk: Talk, typed: Typed) -> None:
    typed.words(0, 0)
    rooms = talk.client.rooms.all()
    for each in rooms:
        doubt = "" if each.is_private else f" (nothing can be said: {each.why})"
        talk.show(f"  {visible(each.jid)}: {len(each.members)} members{doubt}")
    for invitation in await talk.client.rooms.invitations.all():
        room = visible(invitation.sender)
        talk.show(f"  You are invited: /join {shlex.quote(room)}")
    if not rooms:
        talk.show("You are in none: /join ROOM, or /room create NAME")


async def _join(talk: Talk, typed: Typed) -> None:
    (name,) = typed.words(1, 1)
    talk.go_to((await talk.client.join(name)).jid)


async def _leave(talk: Talk, typed: Typed) -> None:
    typed.words(0, 0)
    room = talk.place()
    await talk.client.room(room).leave()
    talk.go_to(None)
    talk.show(f"You have left {visible(room)}.")


async def _room(talk: Talk, typed: Typed) -> None:
    """Do what stands behind /room; without a word, show the rooms."""
    words = typed.words(0, 50)
    if not words:
        await _rooms(talk, typed)
        return
    word, *rest = words
    match word, rest:
        case "join", [name]:
            talk.go_to((await talk.client.join(name)).jid)
        case "create", [name]:
            address = name if "@" in name else f"{name}@muc.{talk.client.jid.domain}"
            talk.go_to((await talk.client.create_room(address)).jid)
        case "leave", []:
            await _leave(talk, Typed("leave", ""))
        case "members", []:
            await _show_members(talk, _here(talk))
        case "invite" | "kick" | "ban" | "accept", [_, *_]:
            await _change(talk, _here(talk), word, rest)
        case _:
            raise UsageError(f"it is used as /{typed.usage}")


def _here(talk: Talk) -> Room:
    room = talk.client.room(talk.place())
    if room.state is None:
        raise UsageError("you are in no room here", fix="Go into one first: /join ROOM")
    return room


async def _show_members(talk: Talk, room: Room) -> None:
    state = room.state
    occupants = () if state is None else state.occupants.values()
    here = {each.jid for each in occupants}
    for jid, affiliation in sorted((await room.members()).items()):
        away = "" if jid in here else ", away"
        new = ""
        if state is not None and jid in state.unaccepted:
            new = f": new, /room accept {shlex.quote(visible(jid))}"
        talk.show(f"  {visible(jid)} ({affiliation}{away}){new}")


async def _change(talk: Talk, room: Room, word: str, people: list[str]) -> None:
    if word == "invite":
        await room.invite(*people)
    elif word == "accept":
        await room.accept(*people)
    else:
        for person in people:
            await (room.kick if word == "kick" else room.ban)(person)
    done = {"invite": "Invited", "accept": "Accepted", "kick": "Out", "ban": "Banned"}
    talk.show(f"{done[word]}: {visible(', '.join(people))}.")


ROOMS: Mapping[str, Callable[[Talk, Typed], Awaitable[None]]] = {
    "rooms": _rooms,
    "room": _room,
    "join": _join,
    "leave": _leave,
}
"""Each command, and what does it."""
