"""Messages and the other events of a conversation.

Values are made from what was decrypted and from what our own server vouches for;
nothing else of a stanza gets in here. ``write_event`` and ``read_event`` are the
form in which the inbox keeps them.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from xmpp_onion.address import JID
from xmpp_onion.chat.alarm import KeyChanged, KeyReuse, NewDevice, TrustChanged

__all__ = [
    "Answer",
    "ContactAccepted",
    "ContactRemoved",
    "ContactRequest",
    "Delivery",
    "DeliveryState",
    "Event",
    "Gap",
    "Message",
    "MoreRequests",
    "Undecryptable",
    "read_event",
    "write_event",
]


class DeliveryState(StrEnum):
    """How far a message of ours has come."""

    QUEUED = "queued"
    """On our disk; the server has not confirmed it yet."""
    ACKED = "acked"
    """The server has it (XEP-0198)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one message to one recipient.

    Attributes:
        id: The message's id, also its origin id (XEP-0359).
        to: The recipient.
        devices: How many devices it was encrypted for, our own others included.
        skipped: Devices that were left out, each named with the reason.
        state: How far it has come.
    """

    id: str
    to: JID
    devices: int
    skipped: tuple[str, ...]
    state: DeliveryState


Answer: TypeAlias = Callable[[JID, str], Awaitable[Delivery]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody wrote to us, decrypted.

    Attributes:
        id: The sender's id for it.
        sender: The account that wrote it, without a resource.
        to: Our account.
        room: The room it was said in; None for a conversation of two.
        text: What was written.
        encrypted: Always true: what was not encrypted never becomes a Message.
        namespace: The OMEMO version that carried it.
        device: The sender's device.
        fingerprint: Of that device: 64 hex digits, the Curve25519 form, as other
            clients show it.
        trust: ``verified``, ``tofu``, ``undecided`` or ``distrusted``: what is known
            about that device when the message is handed out.
        at: When the server got it, in UTC.
    """

    id: str
    sender: JID
    to: JID
    room: JID | None = None
    text: str = field(repr=False)
    encrypted: bool = True
    namespace: str
    device: int
    fingerprint: str
    trust: str
    at: datetime
    _answer: Answer | None = field(default=None, repr=False, compare=False)

    async def reply(self, text: str) -> Delivery:
        """Send ``text``, encrypted, to where this message came from.

        Raises:
            RuntimeError: This message did not come from a client.
            EncryptionError: It cannot be encrypted; nothing was sent.
            NotAcknowledgedError: It is queued and goes out later.
        """
        if self._answer is None:
            raise RuntimeError(
                "only a message that a client received can be replied to"
            )
        return await self._answer(self.room or self.sender, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecryptable:
    """Something came that could not be read; its author should know.

    Attributes:
        id: The sender's id for it.
        sender: The account that the server says it is from.
        reason: Why, in words that carry nothing of the content.
        at: When the server got it, in UTC.
        count: How many messages this is about. More than one, and no ``id``, when
            there were so many that each was not worth an event.
    """

    id: str
    sender: JID
    reason: str
    at: datetime
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRequest:
    """Somebody asks to be a contact. Nothing is accepted by itself."""

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
    """Somebody whom we asked lets us see them now."""

    sender: JID
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRemoved:
    """Somebody refused us, took it back, or is off our list."""

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


Event: TypeAlias = (
    Message
    | Undecryptable
    | ContactRequest
    | MoreRequests
    | ContactAccepted
    | ContactRemoved
    | Gap
    | NewDevice
    | KeyChanged
    | KeyReuse
    | TrustChanged
)

_KINDS: dict[str, type[Event]] = {
    "message": Message,
    "undecryptable": Undecryptable,
    "request": ContactRequest,
    "requests": MoreRequests,
    "contact-accepted": ContactAccepted,
    "contact-removed": ContactRemoved,
    "gap": Gap,
    "new-device": NewDevice,
    "key-changed": KeyChanged,
    "key-reuse": KeyReuse,
    "trust-changed": TrustChanged,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def write_event(event: Event) -> str:
    """Return ``event`` as JSON text for the inbox."""
    values = {
        part.name: _plain(getattr(event, part.name))
        for part in fields(event)
        if not part.name.startswith("_")
    }
    return json.dumps({"kind": _NAMES[type(event)], **values}, ensure_ascii=False)


def read_event(text: str, answer: Answer | None = None) -> Event:
    """Return the event that ``write_event`` wrote.

    Args:
        text: What the inbox kept.
        answer: What ``Message.reply`` calls, with the place to answer to.
    """
    values: dict[str, str] = json.loads(text)
    kind = _KINDS[values.pop("kind")]
    parts: dict[str, object] = dict(values)
    for name in ("at", "since", "until"):
        if name in values:
            parts[name] = datetime.fromisoformat(values[name])
    for name in ("sender", "to", "room", "owner", "by"):
        if values.get(name):
            parts[name] = JID(values[name])
    if kind is Message:
        parts["_answer"] = answer
    return kind(**parts)  # type: ignore[arg-type]  # written by write_event, from the same fields


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
