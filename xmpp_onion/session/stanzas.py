"""Message stanzas to and from plain values.

Nothing here does I/O, and nothing that is read here is authenticated, except
where a docstring says so.
"""

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.errors import InvalidJIDError
from xmpp_onion.session.guards import Outline
from xmpp_onion.session.moderation import Moderation
from xmpp_onion.session.notices import Notice, read_confirmation, read_error
from xmpp_onion.session.serialising import CLIENT, serialise
from xmpp_onion.strict_xml import canonical

__all__ = [
    "Incoming",
    "message_stanza",
    "parse_sent",
    "presence_stanza",
    "read_archived",
    "read_message",
    "read_stamp",
]

CARBONS: Final = "urn:xmpp:carbons:2"
OMEMO_2: Final = "urn:xmpp:omemo:2"
OMEMO: Final = "eu.siacs.conversations.axolotl"
# XEP-0380: the version that most clients know is named, if it is there.
_VERSIONS: Final = (OMEMO, OMEMO_2)
_FALLBACK: Final = (
    "I sent you an OMEMO encrypted message but your client doesn\u2019t seem to "
    "support that."
)
# What a person sent. Rooms, errors and broadcasts take other ways.
_KINDS: Final = frozenset({"chat", "normal"})
# Ids are chosen by the sender; ours have 32 characters.
ID_LIMIT: Final = 1024


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message from a person, before decryption; or a notice about one of ours.

    Args:
        id: The sender's own name for it (XEP-0359 origin-id, else the id).
        sender: The full JID it came from, as our server tells. In a room, the real
            account as the room tells; where it does not, the place in the room.
        at: When it was sent if our own server says so, else when it came.
        encrypted: The OMEMO elements; empty if it was sent in the clear.
        key: Names it for "seen already?". The same bytes sent twice have the
            same key; two messages never share one, whatever ids the sender chose.
            For what this device can read, the clerk takes a better one
            (``e2ee.essence``): a server may give others other names.
        stanza_id: The name that our own archive, or that of the room, has for it, or
            empty. Others cannot set it.
        delayed: It was kept for us meanwhile; what is in the archive is, too.
        to: The bare JID it was for; ours, unless we sent it on another device.
        notice: What it says in the clear about a message of ours. Then it says
            nothing else.
        asks: Its sender wants a receipt. Others can have added that.
        excess: Which limit it is beyond, as a clause: nothing else of it was kept.
        is_silent: It has no text for clients without OMEMO: nothing in it is for a
            person to read.
        room: The room that it was said in; None between two people.
        nick: What its author is called there: it proves nothing.
        moderation: What the room itself says was taken out of it. Then it says
            nothing else.
    """

    id: str
    sender: JID
    at: datetime
    encrypted: tuple[ET.Element, ...] = field(repr=False)
    key: str
    stanza_id: str = ""
    delayed: bool = False
    to: JID | None = None
    notice: Notice | None = None
    asks: bool = False
    excess: str = ""
    is_silent: bool = False
    room: JID | None = None
    nick: str = ""
    moderation: Moderation | None = None

    @property
    def is_nobodys(self) -> bool:
        """Whether it came from a room that does not say who wrote it."""
        return self.room is not None and self.sender.bare == self.room


def message_stanza(
    to: JID,
    message_id: str,
    encrypted: Sequence[ET.Element],
    *,
    clear: Sequence[ET.Element] = (),
    receipt: bool = False,
    silent: bool = False,
    is_room: bool = False,
) -> str:
    """Return the stanza that carries OMEMO elements, as it goes on the wire.

    Args:
        to: The recipient.
        message_id: 128 random bits or more, so that nobody can guess it.
        encrypted: What :mod:`xmpp_onion.e2ee` made.
        clear: What may be seen by every server on the way, such as a stamp.
        receipt: Ask the recipient's device to confirm it (XEP-0184).
        silent: Nothing in it is for a person to read: no text for clients without
            OMEMO goes along.
        is_room: The recipient is a room.
    """
    kind = "groupchat" if is_room else "chat"
    attributes = {"type": kind, "id": message_id, "to": to}
    message = ET.Element(client_tag("message"), attributes)
    message.extend((*encrypted, *clear))
    versions = [one for one in _VERSIONS if _has_payload(encrypted, one)]
    if versions and not silent:
        # XEP-0380: for clients without OMEMO. Not for an empty OMEMO message.
        ET.SubElement(message, client_tag("body")).text = _FALLBACK
        ET.SubElement(
            message,
            "{urn:xmpp:eme:0}encryption",
            {"namespace": versions[0], "name": "OMEMO"},
        )
    ET.SubElement(message, "{urn:xmpp:sid:0}origin-id", {"id": message_id})
    ET.SubElement(message, "{urn:xmpp:hints}store")
    if receipt:
        ET.SubElement(message, "{urn:xmpp:receipts}request")
    return serialise(message)


def parse_sent(text: str) -> ET.Element:
    """Return the element of a stanza that :func:`serialise` wrote."""
    wrapped = f"<stream xmlns='{CLIENT}'>{text}</stream>"
    return ET.fromstring(wrapped)[0]  # noqa: S314 - our own text


def presence_stanza(
    to: JID, kind: str, stanza_id: str, beside: Sequence[ET.Element] = ()
) -> str:
    """Return a presence stanza about a subscription (RFC 6121, section 3)."""
    attributes = {"type": kind, "id": stanza_id, "to": to.bare}
    presence = ET.Element(client_tag("presence"), attributes)
    presence.extend(beside)
    return serialise(presence)


def read_message(
    message: ET.Element, *, own: JID, now: datetime | None = None
) -> Incoming | None:
    """Return what a message stanza is, or None if a person did not send it.

    None is also the answer to anything malformed: a bad sender, two OMEMO
    elements of one version, a room's message, a typing notice, a copy (XEP-0280)
    that our own server did not make.

    Args:
        message: As it came.
        own: Our own account: only it and its server are believed about times.
        now: The time it came; an argument so that tests can be exact.
    """
    found = _open_carbon(message, own)
    if found is None:
        return None
    element, stamped = found
    stamp = _find_stamp(stamped, own)
    return _read(
        element,
        own,
        at=read_stamp(stamp, now or datetime.now(UTC)),
        stanza_id=_read_stanza_id(element, own),
        delayed=stamp is not None,
    )


def read_archived(
    element: ET.Element, *, own: JID, at: datetime, stanza_id: str
) -> Incoming | None:
    """Return what a message from our own archive is, as if it came now.

    What we sent ourselves is there as well: from other devices, and from this one.

    Args:
        element: What the archive forwards.
        own: Our own account.
        at: When the archive got it.
        stanza_id: The archive's name for it.
    """
    return _read(element, own, at=at, stanza_id=stanza_id, delayed=True)


def _open_carbon(element: ET.Element, own: JID) -> tuple[ET.Element, ET.Element] | None:
    """Return the message in a copy that our server made, and what has its stamp.

    XEP-0280, section 11: whoever else sends such an envelope wants to put words
    into somebody's mouth. What is no copy is returned as it is.
    """
    for name in ("sent", "received"):
        copy = element.find(f"{{{CARBONS}}}{name}")
        if copy is None:
            continue
        forwarded = copy.find("{urn:xmpp:forward:0}forwarded")
        message = None if forwarded is None else forwarded.find(client_tag("message"))
        if element.get("from") != own.bare or forwarded is None or message is None:
            return None
        is_sent = _bare(message.get("from", "")) == own.bare
        return (message, forwarded) if is_sent == (name == "sent") else None
    return element, element


def _read(
    element: ET.Element, own: JID, *, at: datetime, stanza_id: str, delayed: bool
) -> Incoming | None:
    kind = element.get("type", "normal")
    # RFC 6120, section 8.1.2.1: an error without a sender is of our own server.
    sender = read_jid(element.get("from", own.bare if kind == "error" else ""))
    if sender is None or kind not in {*_KINDS, "error"}:
        return None
    is_own = sender.bare == own.bare and kind != "error"
    if isinstance(element, Outline):
        if is_own or kind == "error":
            return None
        return _outlined(
            element, sender, at=at, stanza_id=stanza_id, delayed=delayed, own=own
        )
    found = [] if kind == "error" else find_encrypted(element)
    notice = _read_notice(element, sender, own, kind)
    if len({one.tag for one in found}) < len(found) or (
        not found and (is_own or (notice is None and not says_something(element)))
    ):
        return None
    encrypted = tuple(found)
    message_id = read_id(element)
    return Incoming(
        id=message_id,
        sender=sender,
        at=at,
        encrypted=encrypted,
        key=name_of(sender, message_id, content_of(element, encrypted, notice)),
        stanza_id=stanza_id,
        delayed=delayed,
        to=_bare(element.get("to", "")) if is_own else own.bare,
        notice=None if encrypted else notice,
        is_silent=bool(encrypted) and element.find(client_tag("body")) is None,
        asks=element.find("{urn:xmpp:receipts}request") is not None,
    )


def _outlined(
    element: Outline,
    sender: JID,
    *,
    at: datetime,
    stanza_id: str,
    delayed: bool,
    own: JID,
) -> Incoming:
    # Its children may or may not be there: the id alone names it.
    message_id = element.get("id", "")[:ID_LIMIT]
    key = hashlib.sha256(f"excess\0{sender.bare}\0{message_id}".encode())
    return Incoming(
        id=message_id,
        sender=sender,
        at=at,
        encrypted=(),
        key=key.hexdigest(),
        stanza_id=stanza_id,
        delayed=delayed,
        to=own.bare,
        excess=element.why,
    )


def _read_notice(
    element: ET.Element, sender: JID, own: JID, kind: str
) -> Notice | None:
    if kind == "error":
        return read_error(element, sender, own)
    return None if says_something(element) else read_confirmation(element, sender)


def says_something(element: ET.Element) -> bool:
    """Tell whether a message has a text in the clear. One that came back has not."""
    is_error = element.get("type") == "error"
    return not is_error and element.find(client_tag("body")) is not None


def _bare(text: str) -> JID | None:
    jid = read_jid(text)
    return None if jid is None else jid.bare


def find_encrypted(element: ET.Element) -> list[ET.Element]:
    """Return what a stanza has for devices, of either OMEMO version."""
    return [
        one for name in _VERSIONS for one in element.findall(f"{{{name}}}encrypted")
    ]


def _has_payload(elements: Sequence[ET.Element], namespace: str) -> bool:
    return any(one.find(f"{{{namespace}}}payload") is not None for one in elements)


def client_tag(name: str) -> str:
    """Return the name of an element of XMPP's own, as ElementTree spells it."""
    return f"{{{CLIENT}}}{name}"


def read_jid(text: str) -> JID | None:
    """Return a JID that somebody else wrote; None for what is none of a v3 onion."""
    try:
        return JID(text)
    except InvalidJIDError:
        return None


def read_id(element: ET.Element) -> str:
    """Return the id that the author gave a message: XEP-0359's, else the stanza's.

    Servers may change the latter. It is cut where no honest id is longer, and empty
    if there is none.
    """
    origin = element.find("{urn:xmpp:sid:0}origin-id")
    text = "" if origin is None else origin.get("id", "")
    return (text or element.get("id", ""))[:ID_LIMIT]


def _read_stanza_id(element: ET.Element, own: JID) -> str:
    """XEP-0359, section 6: only the id that our own archive set is one.

    It stands in the message itself, alone: the server takes forged ones away there,
    and does not look deeper.
    """
    found = [
        stanza_id.get("id", "")[:ID_LIMIT]
        for stanza_id in element.findall("{urn:xmpp:sid:0}stanza-id")
        if stanza_id.get("by") == own.bare
    ]
    return found[0] if len(found) == 1 else ""


def _find_stamp(element: ET.Element, own: JID) -> str | None:
    """Return the delay stamp of our own server; nobody else's is believed.

    The server puts its own behind what came. An author can back-date by one in its
    name, and nobody but him: that is no more than he says himself.
    """
    stamps = [
        delay.get("stamp", "")
        for delay in element.findall("{urn:xmpp:delay}delay")
        if delay.get("from") in {own.bare, own.domain}
    ]
    return stamps[-1] if stamps else None


def read_stamp(stamp: str | None, now: datetime) -> datetime:
    """Return the time of a stamp (XEP-0082), never later than now; else now."""
    try:
        return min(datetime.fromisoformat(stamp or "").astimezone(UTC), now)
    except (ValueError, OverflowError):
        return now


def name_of(sender: JID, message_id: str, content: Sequence[str]) -> str:
    """Return the key by which a message is known again, live or from the archive.

    Of its content as well: an author who gives two messages one id is heard twice.
    """
    parts = (sender.bare, message_id, *content)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def content_of(
    element: ET.Element, encrypted: Sequence[ET.Element], notice: Notice | None
) -> list[str]:
    """Return what of a message no server on the way has a reason to change."""
    if encrypted:
        return [canonical(one) for one in encrypted]
    if notice is not None:
        return [notice.state, notice.target]
    return [element.findtext(client_tag("body"), "")]
