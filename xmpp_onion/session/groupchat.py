"""What people say in rooms, before decryption.

The name in front of a message, the nick, is anybody's: it may be free today and
somebody else's tomorrow. Who wrote a live message is the account that the room says
is behind the nick now; who wrote an old one, the account that the room's archive
keeps with it, and never who has the nick today.

Source: XEP-0045, section 7.4; XEP-0313, section 5.1.2 of version 0.7 (the item that
names the sender in a room's archive); XEP-0359, section 6.
"""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from xmpp_onion.address import JID
from xmpp_onion.session.guards import Outline
from xmpp_onion.session.moderation import Moderation, read_moderation
from xmpp_onion.session.stanzas import (
    ID_LIMIT,
    Incoming,
    content_of,
    find_encrypted,
    name_of,
    read_id,
    read_jid,
    says_something,
)

__all__ = ["Seat", "author_element", "read_groupchat", "read_room_archived", "seat_of"]

_USER: Final = "{http://jabber.org/protocol/muc#user}"
_DELAY: Final = "{urn:xmpp:delay}delay"


class Seat(NamedTuple):
    """A place in a room: who speaks from it is not said.

    Attributes:
        room: The room, a bare JID.
        nick: What the place is called.
    """

    room: JID
    nick: str


def seat_of(element: ET.Element) -> Seat | None:
    """Return from where in a room a message was said; None if it was not.

    Args:
        element: A message stanza, as it came.
    """
    sender = read_jid(element.get("from", ""))
    if sender is None or not sender.local or element.get("type") != "groupchat":
        return None
    return Seat(sender.bare, sender.resource)


def read_groupchat(
    element: ET.Element, *, author: JID | None, now: datetime | None = None
) -> Incoming | None:
    """Return what was said in a room just now; None if it is nothing to read.

    What the room repeats of its past is nothing: who had which nick then is for its
    archive to say.

    Args:
        element: As it came; :func:`seat_of` knows from where.
        author: The account behind the nick, as the room says now.
        now: The time it came; an argument so that tests can be exact.
    """
    seat = seat_of(element)
    if seat is None or _is_history(element, seat.room):
        return None
    return _read(
        element,
        seat,
        author,
        at=now or datetime.now(UTC),
        stanza_id=_read_stanza_id(element, seat.room),
    )


def read_room_archived(
    element: ET.Element, *, room: JID, at: datetime, stanza_id: str
) -> Incoming | None:
    """Return what the archive of a room has, as if it came now.

    Args:
        element: What the archive forwards.
        room: Whose archive that is.
        at: When the room got it.
        stanza_id: The archive's name for it.
    """
    seat = seat_of(element)
    if seat is None or seat.room != room.bare:
        return None
    author = _read_author(element)
    incoming = _read(element, seat, author, at=at, stanza_id=stanza_id)
    return None if incoming is None else replace(incoming, delayed=True)


def author_element(author: JID) -> ET.Element:
    """Return what an archive keeps with a message: who wrote it."""
    x = ET.Element(f"{_USER}x")
    ET.SubElement(x, f"{_USER}item", {"jid": author.bare})
    return x


def _read(
    element: ET.Element, seat: Seat, author: JID | None, *, at: datetime, stanza_id: str
) -> Incoming | None:
    excess = element.why if isinstance(element, Outline) else ""
    if not excess and not seat.nick and (said := read_moderation(element, seat.room)):
        return _moderated(element, seat, said, at=at, stanza_id=stanza_id)
    found = [] if excess else find_encrypted(element)
    if len({one.tag for one in found}) < len(found):
        return None
    if not found and not excess and not (seat.nick and says_something(element)):
        return None  # a subject, or what the room itself has to say
    sender = author or JID(element.get("from", ""))
    message_id = read_id(element)
    content = [excess, stanza_id] if excess else content_of(element, found, None)
    return Incoming(
        id=message_id,
        sender=sender,
        at=at,
        encrypted=tuple(found),
        key=name_of(seat.room, message_id, ["groupchat", *content]),
        stanza_id=stanza_id,
        to=seat.room,
        excess=excess,
        is_silent=bool(found) and element.find("{jabber:client}body") is None,
        room=seat.room,
        nick=seat.nick,
    )


def _moderated(
    element: ET.Element, seat: Seat, said: Moderation, *, at: datetime, stanza_id: str
) -> Incoming:
    return Incoming(
        id=read_id(element),
        sender=seat.room,
        at=at,
        encrypted=(),
        key=name_of(seat.room, "", ["moderated", said.target]),
        stanza_id=stanza_id,
        to=seat.room,
        room=seat.room,
        moderation=said,
    )


def _is_history(element: ET.Element, room: JID) -> bool:
    """Tell whether a room repeats what was said before.

    A stamp of somebody else's is of a client that had to wait for its connection.
    """
    return any(delay.get("from") == room for delay in element.iterfind(_DELAY))


def _read_author(element: ET.Element) -> JID | None:
    """Return who an archive says wrote a message; None if not exactly one.

    A member could have sent such an element along. Rooms take it away; and if one
    did not, keys tell that the message is not of whom it names.
    """
    found = list(element.iterfind(f"{_USER}x/{_USER}item"))
    jid = read_jid(found[0].get("jid", "")) if len(found) == 1 else None
    return None if jid is None or not jid.local else jid.bare


def _read_stanza_id(element: ET.Element, room: JID) -> str:
    """Return the name that the room's archive gave a message; others are nothing."""
    found = [
        stanza_id.get("id", "")[:ID_LIMIT]
        for stanza_id in element.iterfind("{urn:xmpp:sid:0}stanza-id")
        if stanza_id.get("by") == room
    ]
    return found[0] if len(found) == 1 else ""
