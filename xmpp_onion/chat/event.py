"""The events of a conversation, and the form in which the inbox keeps them.

Values are made from what was decrypted and from what our own server vouches for;
nothing else of a stanza gets in here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat.alarm import KeyChanged, KeyReuse, NewDevice, TrustChanged
from xmpp_onion.chat.attachment import Attachment, Fetch
from xmpp_onion.chat.contents import (
    Content,
    Correction,
    Reaction,
    Retraction,
    Typing,
    TypingState,
)
from xmpp_onion.chat.delivery import DeliveryFailed, DeliveryState, Receipt
from xmpp_onion.chat.message import Answer, Message, OwnMessage, Said
from xmpp_onion.chat.room import Affiliation, Moderated, RoomChange, RoomEvent

__all__ = [
    "ContactAccepted",
    "ContactRemoved",
    "ContactRequest",
    "Event",
    "Gap",
    "MoreRequests",
    "Moved",
    "RolledBack",
    "Undecryptable",
    "event_of",
    "read_event",
    "rename_event",
    "write_event",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecryptable:
    """Something came that could not be read; its author should know.

    Attributes:
        id: The sender's id for it.
        sender: The account that the server says it is from. For one of a room the
            room: who wrote what nobody can read is not known.
        reason: Why, in words that carry nothing of the content.
        at: When the server got it, in UTC.
        count: How many messages this is about. More than one, and no ``id``, when
            there were so many that each was not worth an event.
        room: The room that it was said in; None for a conversation of two.
        plaintext: It was sent without encryption, which is why it is not read.
    """

    id: str
    sender: JID
    reason: str
    at: datetime
    count: int = 1
    room: JID | None = None
    plaintext: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRequest:
    """Somebody asks to be a contact. Nothing is accepted by itself.

    Attributes:
        sender: Who asks, a bare JID.
        at: When we learnt it, in UTC.
    """

    sender: JID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreRequests:
    """Others asked to be contacts, too many to name: ``Client.requests()`` has them.

    Attributes:
        sender: Our own account, whose box they are in.
        count: How many, since the last event about requests.
        at: When that was told, in UTC.
    """

    sender: JID
    count: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactAccepted:
    """Somebody whom we asked lets us see them now.

    Attributes:
        sender: Who accepted, a bare JID.
        at: When we learnt it, in UTC.
    """

    sender: JID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRemoved:
    """Somebody refused us, took it back, or is off our list.

    Attributes:
        sender: Who is no contact now, a bare JID.
        at: When we learnt it, in UTC.
    """

    sender: JID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Messages of this time may be lost: the server's archive has forgotten them.

    Attributes:
        sender: Whose archive: our own account.
        since: Until then we have everything, in UTC.
        until: From then on the archive has everything, in UTC.
        at: When that was noticed, in UTC.
    """

    sender: JID
    since: datetime
    until: datetime
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """An old copy of this account's store was put back, and was noticed.

    What came or went after the copy was made may be missing or come again. The
    OMEMO sessions are begun anew, so that no key of a message is used twice.

    Attributes:
        sender: Our own account.
        at: When that was noticed, in UTC.
    """

    sender: JID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A server has another name now, and proved it with the keys of both.

    Nothing is followed by itself: ``xmpp-onion account move`` follows our own server,
    ``xmpp-onion contact move`` goes on with somebody under the new name.

    Attributes:
        sender: Who moved with it, by the old address: we, or a contact.
        old: The name that the server had.
        new: The name that it has.
        own: It is our own server.
        at: When it said so, in UTC.
    """

    sender: JID
    old: OnionAddress
    new: OnionAddress
    own: bool
    at: datetime


Event: TypeAlias = (
    Message
    | OwnMessage
    | Correction
    | Reaction
    | Retraction
    | Typing
    | Receipt
    | DeliveryFailed
    | Undecryptable
    | ContactRequest
    | MoreRequests
    | ContactAccepted
    | ContactRemoved
    | RoomEvent
    | Moderated
    | Gap
    | RolledBack
    | Moved
    | NewDevice
    | KeyChanged
    | KeyReuse
    | TrustChanged
)
"""What ``Client.events()`` yields: match it by its type, for the list is complete."""

_KINDS: Mapping[str, type[Event]] = MappingProxyType(
    {
        "message": Message,
        "own-message": OwnMessage,
        "correction": Correction,
        "reaction": Reaction,
        "retraction": Retraction,
        "typing": Typing,
        "receipt": Receipt,
        "failed": DeliveryFailed,
        "undecryptable": Undecryptable,
        "request": ContactRequest,
        "requests": MoreRequests,
        "contact-accepted": ContactAccepted,
        "contact-removed": ContactRemoved,
        "room": RoomEvent,
        "moderated": Moderated,
        "gap": Gap,
        "rolled-back": RolledBack,
        "moved": Moved,
        "new-device": NewDevice,
        "key-changed": KeyChanged,
        "key-reuse": KeyReuse,
        "trust-changed": TrustChanged,
    }
)
_NAMES: Mapping[type[Event], str] = MappingProxyType(
    {kind: name for name, kind in _KINDS.items()}
)
# What is written of each, in this order.
_PARTS: Mapping[type[Event], tuple[str, ...]] = MappingProxyType(
    {
        kind: tuple(e.name for e in fields(kind) if not e.name.startswith("_"))
        for kind in _NAMES
    }
)
_SAID = tuple(each.name for each in fields(Said))
# What JSON has no form for, by the name of the field.
_READ: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        "at": datetime.fromisoformat,
        "expires_at": datetime.fromisoformat,
        "since": datetime.fromisoformat,
        "until": datetime.fromisoformat,
        "sender": JID,
        "to": JID,
        "room": JID,
        "owner": JID,
        "by": JID,
        "who": JID,
        "author": JID,
        "old": OnionAddress,
        "new": OnionAddress,
        "change": RoomChange,
        "affiliation": Affiliation,
        "emojis": tuple,
        "mentions": lambda jids: tuple(JID(jid) for jid in jids),
    }
)
_STATES: Mapping[type[Event], type[StrEnum]] = MappingProxyType(
    {Receipt: DeliveryState, Typing: TypingState}
)


def event_of(
    said: Said,
    content: Content,
    *,
    is_own: bool,
    is_accepted: bool,
    own: JID | None = None,
) -> Event | None:
    """Return what a message that was decrypted is; None if it says nothing.

    A device that the policy does not accept changes no earlier message: its
    correction is one more message, and its retraction and reaction are nothing.

    Args:
        said: Who said it.
        content: What was inside of its envelope.
        is_own: We wrote it, on another device.
        is_accepted: The policy accepts the sender's device.
        own: Our account, bare; who is mentioned is compared with it.
    """
    who = {name: getattr(said, name) for name in _SAID}
    text = content.text
    if content.retracts:
        return Retraction(**who, target=content.retracts) if is_accepted else None
    if content.reacts_to:
        emojis = content.emojis
        made = Reaction(**who, target=content.reacts_to, emojis=emojis)
        return made if is_accepted else None
    if text is not None and content.corrects and is_accepted:
        return Correction(**who, target=content.corrects, text=text)
    if text is not None:
        kind = OwnMessage if is_own else Message
        if not is_own:
            who["mentions_me"] = own in content.mentions
        return kind(
            **who,
            text=text,
            reply_to=content.reply_to,
            attachment=content.attachment,
            mentions=content.mentions,
        )
    if content.typing is not None:
        return Typing(**who, state=content.typing)
    return None


def write_event(event: Event) -> str:
    """Return ``event`` as JSON text for the inbox."""
    values = {name: _plain(getattr(event, name)) for name in _PARTS[type(event)]}
    return json.dumps({"kind": _NAMES[type(event)], **values}, ensure_ascii=False)


def read_event(
    text: str, answer: Answer | None = None, fetch: Fetch | None = None
) -> Event:
    """Return the event that ``write_event`` wrote.

    Args:
        text: What the inbox kept.
        answer: What ``Message.reply`` calls, with the place to answer to.
        fetch: What ``Attachment.save`` calls.
    """
    values: dict[str, str | None] = json.loads(text)
    kind = _KINDS[str(values.pop("kind"))]
    parts: dict[str, object] = {
        name: _READ[name](value)
        if name in _READ and value is not None and value != ""
        else value
        for name, value in values.items()
    }
    if kind in _STATES:
        parts["state"] = _STATES[kind](str(values["state"]))
    if kind is Message:
        parts["_answer"] = answer
    if isinstance(parts.get("attachment"), dict):
        attached = Attachment(**parts["attachment"])  # type: ignore[arg-type]  # written by write_event, from the same fields
        until = parts.get("expires_at")
        parts["attachment"] = attached.bound(
            fetch, until if isinstance(until, datetime) else None
        )
    return kind(**parts)  # type: ignore[arg-type]  # written by write_event, from the same fields


def rename_event(text: str, rename: Callable[[str], str]) -> str:
    """Return what ``write_event`` wrote with other names of the people in it.

    What they said stays as it is.

    Args:
        text: What the inbox kept.
        rename: Returns the name that somebody has now, or the same.
    """
    values: dict[str, object] = json.loads(text)
    for name, value in values.items():
        if name == "mentions" and isinstance(value, list):
            values[name] = [rename(str(each)) for each in value]
        elif _READ.get(name) is JID and isinstance(value, str):
            values[name] = rename(value)
    return json.dumps(values, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, Attachment):
        names = (each.name for each in fields(value) if not each.name.startswith("_"))
        return {name: getattr(value, name) for name in names}
    return value.isoformat() if isinstance(value, datetime) else value
