"""What a room says about a message that was taken out of it (XEP-0425).

It comes in the clear, from the room itself, and its word is all that there is: no key
says it. Who did it is named by the account where the room's server does so (ours
does), for the archive has it when the nick may be somebody else's.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.session.muc import MUC_USER, read_account

__all__ = ["Moderation", "read_moderation", "write_moderation"]

MODERATE: Final = "urn:xmpp:message-moderate:1"
RETRACT: Final = "urn:xmpp:message-retract:1"
# As everywhere: the id that an archive gives.
_ID_LIMIT: Final = 1024
# Of what others wrote for people; our server takes as many bytes.
_REASON_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Moderation:
    """An owner or an admin took a message out of a room, as the room says.

    Args:
        target: What the room calls the message.
        nick: Of who did it, then.
        by: The account of who did it; None where that is not told.
        reason: In their words.
    """

    target: str
    nick: str
    by: JID | None = None
    reason: str = field(default="", repr=False)


def read_moderation(element: ET.Element, room: JID) -> Moderation | None:
    """Return what a message of the room itself says was taken out, if anything.

    Args:
        element: A message whose sender is the room, and no place in it.
        room: The room.
    """
    found = element.findall(f"{{{RETRACT}}}retract")
    said = found[0].findall(f"{{{MODERATE}}}moderated") if len(found) == 1 else []
    target = found[0].get("id", "") if found else ""
    if len(said) != 1 or not 0 < len(target) <= _ID_LIMIT:
        return None
    item = said[0].find(f"{{{MUC_USER}}}item")
    place, slash, nick = said[0].get("by", "").partition("/")
    return Moderation(
        target,
        nick=nick if slash and place == room else "",
        by=None if item is None else read_account(item.get("jid", "")),
        reason=found[0].findtext(f"{{{RETRACT}}}reason", "")[:_REASON_LIMIT],
    )


def write_moderation(target: str, reason: str) -> ET.Element:
    """Return what asks a room to take a message out. All of it is in the clear."""
    moderate = ET.Element(f"{{{MODERATE}}}moderate", {"id": target})
    ET.SubElement(moderate, f"{{{RETRACT}}}retract")
    if reason:
        ET.SubElement(moderate, f"{{{MODERATE}}}reason").text = reason
    return moderate
