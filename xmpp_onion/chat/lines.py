"""The lines of ``--json``: one object each, the same in every command.

Every line has ``"v": 1`` and ``"event"``. Fields are only ever added.
"""

from datetime import UTC, datetime
from typing import TypeAlias, assert_never

from xmpp_onion.chat.alarm import KeyChanged, KeyReuse, NewDevice, TrustChanged
from xmpp_onion.chat.attachment import Attachment
from xmpp_onion.chat.contents import Correction, Reaction, Retraction, Typing
from xmpp_onion.chat.delivery import Delivery, DeliveryFailed, Receipt
from xmpp_onion.chat.event import (
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Event,
    Gap,
    MoreRequests,
    Moved,
    RolledBack,
    Undecryptable,
)
from xmpp_onion.chat.message import Message, OwnMessage, Said
from xmpp_onion.chat.room import Moderated, RoomEvent

__all__ = ["Line", "line"]

Line: TypeAlias = dict[str, object]
"""One JSON line, as docs/reference/command-line.md has it."""

_ALARMS: dict[type, str] = {
    NewDevice: "new-device",
    KeyChanged: "key-changed",
    KeyReuse: "key-reuse",
    TrustChanged: "trust-changed",
}
_PEOPLE = {
    ContactRequest: "request",
    MoreRequests: "requests",
    ContactAccepted: "contact-accepted",
    ContactRemoved: "contact-removed",
}


def line(what: Event | Delivery) -> Line:
    """Return the line that describes ``what``."""
    match what:
        case Said():
            return _said(what)
        case Delivery() | DeliveryFailed() | Receipt():
            return _delivered(what)
        case Undecryptable():
            return {
                "v": 1,
                "event": "undecryptable",
                "id": what.id,
                "from": what.sender,
                "room": what.room,
                "reason": what.reason,
                "count": what.count,
                "at": _time(what.at),
            }
        case (
            ContactRequest()
            | MoreRequests()
            | ContactAccepted()
            | ContactRemoved()
            | RoomEvent()
            | Moderated()
        ):
            return _about_people(what)
        case Gap() | RolledBack() | Moved():
            return _about_us(what)
        case NewDevice() | KeyChanged() | KeyReuse() | TrustChanged():
            return _alarm(what)
        case _:
            assert_never(what)


def _about_us(what: Gap | RolledBack | Moved) -> Line:
    match what:
        case Gap():
            return {
                "v": 1,
                "event": "gap",
                "from": what.sender,
                "since": _time(what.since),
                "until": _time(what.until),
            }
        case RolledBack():
            return {
                "v": 1,
                "event": "rolled-back",
                "jid": what.sender,
                "at": _time(what.at),
            }
        case Moved():
            return {
                "v": 1,
                "event": "moved",
                "jid": what.sender,
                "old": what.old,
                "new": what.new,
                "own": what.own,
                "at": _time(what.at),
            }


def _said(what: Said) -> Line:
    """Return the line of what was decrypted."""
    kind, content = _content(what)
    if isinstance(what, Message | OwnMessage) and what.attachment is not None:
        kind = "file" if isinstance(what, Message) else "own-file"
        content = _file(what.attachment)
    return {
        "v": 1,
        "event": kind,
        "id": what.id,
        "from": what.sender,
        "to": what.to,
        "room": what.room,
        **content,
        "encrypted": what.encrypted,
        "namespace": what.namespace,
        "device": what.device,
        "fingerprint": what.fingerprint,
        "trust": what.trust,
        "at": _time(what.at),
        "expires_at": None if what.expires_at is None else _time(what.expires_at),
    }


def _content(what: Said) -> tuple[str, Line]:
    match what:
        case Message():
            return "message", _text(what) | {"mentions_me": what.mentions_me}
        case OwnMessage():
            return "own-message", _text(what)
        case Correction():
            return "correction", {"target": what.target, "body": what.text}
        case Reaction():
            return "reaction", {"target": what.target, "emojis": list(what.emojis)}
        case Retraction():
            return "retraction", {"target": what.target}
        case Typing():
            return "typing", {"state": str(what.state)}
        case _:
            raise TypeError(f"{type(what).__name__} has no line")


def _text(what: Message | OwnMessage) -> Line:
    return {
        "body": what.text,
        "reply_to": what.reply_to or None,
        "mentions": list(what.mentions),
    }


def _file(file: Attachment) -> Line:
    return {
        "name": file.name,
        "size": file.size,
        "media_type": file.media_type or None,
        "seconds": file.seconds,
        "url": file.url,
    }


def _delivered(what: Delivery | DeliveryFailed | Receipt) -> Line:
    match what:
        case Delivery():
            return {
                "v": 1,
                "event": "sent",
                "id": what.id,
                "to": what.to,
                "encrypted": True,
                "devices": what.devices,
                "skipped": list(what.skipped),
                "text_only": what.text_only,
                "state": str(what.state),
                "reason": what.reason or None,
            }
        case Receipt():
            return {
                "v": 1,
                "event": "receipt",
                "id": what.id,
                "from": what.sender,
                "room": what.room,
                "state": str(what.state),
                "authenticated": what.authenticated,
                "at": _time(what.at),
            }
        case DeliveryFailed():
            return {
                "v": 1,
                "event": "failed",
                "id": what.id,
                "to": what.sender,
                "reason": what.reason,
                "at": _time(what.at),
            }
        case _:
            assert_never(what)


def _alarm(what: NewDevice | KeyChanged | KeyReuse | TrustChanged) -> Line:
    line: Line = {
        "v": 1,
        "event": _ALARMS[type(what)],
        "jid": what.sender,
        "device": what.device,
        "fingerprint": what.fingerprint,
        "trust": what.trust,
        "at": _time(what.at),
    }
    match what:
        case NewDevice():
            return {**line, "own": what.own}
        case KeyChanged():
            return {**line, "before": what.before}
        case KeyReuse():
            return {**line, "owner": what.owner}
        case TrustChanged():
            return {**line, "by": what.by}


def _about_people(
    what: ContactRequest
    | MoreRequests
    | ContactAccepted
    | ContactRemoved
    | RoomEvent
    | Moderated,
) -> Line:
    if isinstance(what, RoomEvent):
        return _about_room(what)
    if isinstance(what, Moderated):
        return _moderated(what)
    line: Line = {
        "v": 1,
        "event": _PEOPLE[type(what)],
        "from": what.sender,
        "at": _time(what.at),
    }
    return {**line, "count": what.count} if isinstance(what, MoreRequests) else line


def _about_room(what: RoomEvent) -> Line:
    return {
        "v": 1,
        "event": f"room-{what.change}",
        "room": what.sender,
        "jid": what.who,
        "nick": what.nick or None,
        "affiliation": what.affiliation and str(what.affiliation),
        "by": what.by,
        "private": what.is_private,
        "reason": what.reason or None,
        "count": what.count,
        "at": _time(what.at),
    }


def _moderated(what: Moderated) -> Line:
    return {
        "v": 1,
        "event": "moderated",
        "room": what.sender,
        "target": what.target,
        "author": what.author,
        "by": what.by,
        "reason": what.reason or None,
        "encrypted": False,
        "at": _time(what.at),
    }


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
