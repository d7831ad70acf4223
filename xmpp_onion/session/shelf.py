"""Messages that wait, as the text of a stanza that can be read again."""

import xml.etree.ElementTree as ET
from datetime import datetime

from xmpp_onion.address import JID
from xmpp_onion.session.groupchat import author_element, read_room_archived
from xmpp_onion.session.serialising import serialise
from xmpp_onion.session.stanzas import (
    Incoming,
    client_tag,
    parse_sent,
    read_archived,
)

__all__ = ["read_waiting", "write_incoming"]


def write_incoming(incoming: Incoming) -> str:
    """Return a stanza that :func:`read_waiting` reads as the same message."""
    if incoming.room is None:
        to = {} if incoming.to is None else {"to": incoming.to}
        names = {"type": "chat", "from": incoming.sender, "id": incoming.id} | to
    else:
        seat = f"{incoming.room}/{incoming.nick}" if incoming.nick else incoming.room
        names = {"type": "groupchat", "from": seat, "id": incoming.id}
    message = ET.Element(client_tag("message"), names)
    message.extend(incoming.encrypted)
    if not incoming.is_silent:
        ET.SubElement(message, client_tag("body"))
    if incoming.asks:
        ET.SubElement(message, "{urn:xmpp:receipts}request")
    if incoming.room is not None and not incoming.is_nobodys:
        message.append(author_element(incoming.sender))
    return serialise(message)


def read_waiting(
    text: str, *, own: JID, at: datetime, stanza_id: str
) -> Incoming | None:
    """Return the message that :func:`write_incoming` wrote."""
    element = parse_sent(text)
    if element.get("type") != "groupchat":
        return read_archived(element, own=own, at=at, stanza_id=stanza_id)
    room = JID(element.get("from", "")).bare
    return read_room_archived(element, room=room, at=at, stanza_id=stanza_id)
