"""What a person reads about an event; text of other people is made harmless."""

import shlex
from typing import assert_never

from xmpp_onion.chat import (
    Attachment,
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Correction,
    DeliveryFailed,
    Event,
    Gap,
    KeyChanged,
    KeyReuse,
    Message,
    Moderated,
    MoreRequests,
    Moved,
    NewDevice,
    OwnMessage,
    Reaction,
    Receipt,
    Retraction,
    RolledBack,
    RoomChange,
    RoomEvent,
    Said,
    TrustChanged,
    Typing,
    Undecryptable,
)
from xmpp_onion.cli.devices import told_alarm
from xmpp_onion.cli.output import quoted, visible

__all__ = ["told"]

# Of an id, so that a line stays readable; enough to tell messages apart.
_ID_SHOWN = 8


def told(event: Event) -> str:
    """Return the line, or lines, that tell a person about ``event``."""
    at = f"{event.at.astimezone():%H:%M}"
    who = f"{at} {visible(event.sender)}"
    match event:
        case Said():
            where = f"{at} {visible(event.room)}: " if event.room else f"{at} "
            known = f"({event.trust}{_until(event)})"
            text = f"{where}{visible(event.sender)} {known}{_said(event)}"
        case Receipt():
            doubt = "" if event.authenticated else ", not authenticated"
            room = f"{visible(event.room)}: " if event.room else ""
            text = (
                f"{at} {room}{visible(event.sender)}: "
                f"[{event.state}{doubt}: {_short(event.id)}]"
            )
        case DeliveryFailed():
            text = (
                f"{who}: [not delivered: {_short(event.id)}, {visible(event.reason)}]"
            )
        case Undecryptable():
            many = f"{event.count} messages " if event.count > 1 else ""
            text = f"{who}: [{many}not readable: {visible(event.reason)}]"
        case ContactRequest() | MoreRequests() | ContactAccepted() | ContactRemoved():
            text = _told_of_people(event)
        case RoomEvent() | Moderated():
            text = f"{who}: [{_told_by_room(event)}]"
        case Gap() | RolledBack() | Moved():
            text = f"{at} [{_told_of_us(event)}]"
        case NewDevice() | KeyChanged() | KeyReuse() | TrustChanged():
            text = f"{at} {told_alarm(event)}"
        case _:
            assert_never(event)
    return text


def _told_of_us(event: Gap | RolledBack | Moved) -> str:
    match event:
        case Gap():
            since, until = event.since.astimezone(), event.until.astimezone()
            return (
                f"messages that came from {since:%Y-%m-%d %H:%M} to "
                f"{until:%Y-%m-%d %H:%M} may be lost: the server no longer has them"
            )
        case RolledBack():
            return (
                "an old copy of this account was put back: messages since then may "
                "come again or be missing; encryption is begun anew"
            )
        case Moved(own=False):
            jid = visible(event.sender)
            return (
                f"{jid} has moved to {visible(event.new)}, says the server; go on "
                f"there with: xmpp-onion contact move {shlex.quote(jid)}"
            )
        case Moved():
            return (
                f"your server {visible(event.old)} is {visible(event.new)} now; follow "
                "it with: xmpp-onion account move"
            )


def _told_of_people(
    event: ContactRequest | MoreRequests | ContactAccepted | ContactRemoved,
) -> str:
    time, sender = f"{event.at.astimezone():%H:%M}", visible(event.sender)
    match event:
        case ContactRequest():
            return (
                f"{time} {sender} wants to be a contact; accept with: "
                f"xmpp-onion contact accept {shlex.quote(sender)}"
            )
        case MoreRequests():
            return (
                f"{time} {event.count} more want to be contacts; see them with: "
                "xmpp-onion contact requests"
            )
        case ContactAccepted():
            return f"{time} {sender} lets you see them now"
        case ContactRemoved():
            return f"{time} {sender} does not let you see them any more"


def _told_by_room(event: RoomEvent | Moderated) -> str:
    if isinstance(event, RoomEvent):
        return _told_of_room(event)
    why = f": {visible(event.reason)}" if event.reason else ""
    whose = f"{_short(event.target)} of {visible(event.author)}"
    return f"{visible(event.by)} took out {whose}, says the room{why}"


def _told_of_room(event: RoomEvent) -> str:
    who = "somebody" if event.who is None else visible(event.who)
    if event.nick:
        who = f"{who} as {quoted(event.nick)}"
    if event.count > 1:
        who = f"{event.count} people"
    by = f", by {visible(event.by)}" if event.by else ""
    match event.change:
        case RoomChange.JOINED:
            doubt = f" ({visible(event.reason)})" if event.reason else ""
            text = f"{who} came in{doubt}"
        case RoomChange.LEFT:
            text = f"{who} left{by}"
        case RoomChange.AFFILIATION:
            text = f"{who} is {event.affiliation or 'something else'} now{by}"
        case RoomChange.CONFIGURATION if event.is_private:
            text = "the room is private now"
        case RoomChange.CONFIGURATION:
            text = f"nothing is sent here any more: {event.reason}"
        case RoomChange.INVITED:
            text = _told_of_invitation(event, who)
        case RoomChange.REMOVED:
            text = f"you are out: {event.reason}{by}"
        case _:
            assert_never(event.change)
    return text


def _told_of_invitation(event: RoomEvent, who: str) -> str:
    if event.who is None:
        return (
            f"{event.count} more invitations, for which there is no room; see those "
            "that wait: xmpp-onion room invitations"
        )
    doubt = f" ({event.reason})" if event.reason else ""
    room = shlex.quote(visible(event.sender))
    return f"{who} invites you{doubt}; join with: xmpp-onion room join {room}"


def _until(event: Said) -> str:
    """Return until when something may be kept, with the day if that is another."""
    if event.expires_at is None:
        return ""
    ends, came = event.expires_at.astimezone(), event.at.astimezone()
    form = "%H:%M" if ends.date() == came.date() else "%Y-%m-%d %H:%M"
    return f", until {ends:{form}}"


def _said(event: Said) -> str:
    match event:
        case Message(attachment=Attachment() as file):
            what = _file(file)
        case OwnMessage(attachment=Attachment() as file, to=to):
            what = f" to {visible(to)}{_file(file)}"
        case Message(text=text, mentions_me=is_for_us):
            what = f"{' mentions you' if is_for_us else ''}: {visible(text)}"
        case OwnMessage(text=text, to=to):
            what = f" to {visible(to)}: {visible(text)}"
        case Correction(target=target, text=text):
            what = f" corrects {_short(target)}: {visible(text)}"
        case Reaction(target=target, emojis=emojis):
            shown = visible(" ".join(emojis)) or "nothing any more"
            what = f" reacts to {_short(target)}: {shown}"
        case Retraction(target=target):
            what = f" takes back {_short(target)}"
        case Typing(state=state):
            what = f" is {state}"
        case _:
            what = ""
    return what


def _file(file: Attachment) -> str:
    size = "" if file.size is None else f", {file.size} bytes"
    length = "" if file.seconds is None else f", {file.seconds:.0f} s"
    return f": [file: {visible(file.name)}{size}{length}; {visible(file.url)}]"


def _short(identifier: str) -> str:
    return visible(identifier[:_ID_SHOWN])
