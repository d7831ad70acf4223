"""What is the address of a room, and what to say where we are not in it."""

from xmpp_onion.address import JID
from xmpp_onion.errors import AddressError, RoomError

__all__ = ["not_in", "parse_room"]


def parse_room(text: str) -> JID:
    """Return the JID of a room.

    Raises:
        AddressError: It is not one, it names a server, or somebody in a room.
    """
    jid = JID(text)
    if not jid.local or jid.resource:
        raise AddressError(
            f"{text!a} is not the address of a room",
            fix="Write it as name@muc.….onion.",
        )
    return jid


def not_in(room: JID) -> RoomError:
    """Return the error for a message to a room that we are not in."""
    return RoomError(
        "nothing was sent",
        why="this is the address of a room, and we are not in it",
        fix=f"Join it first: xmpp-onion room join {room}",
    )
