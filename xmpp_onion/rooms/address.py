"""What is the address of a room, and what to say where we are not in it."""

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import AddressError, RoomError

__all__ = ["check_nick", "check_room", "not_in", "parse_room"]


def check_room(text: str) -> str:
    """Return what a person calls a room, as far as it can be checked offline.

    Args:
        text: A JID, or a bare name, which is one of a room of our own server.

    Raises:
        AddressError: It can be neither.
    """
    if "@" in text:
        return parse_room(text)
    if text.endswith(".onion"):
        raise _no_name(text, "it names a whole server")
    # No server has this key: it only makes a JID of the name.
    nowhere = OnionAddress.from_public_key(bytes(32))
    why = "a name has no spaces, nothing invisible, and none of \" & ' / : < > @"
    try:
        jid = JID(f"{text}@{nowhere}")
    except AddressError as error:
        raise _no_name(text, why) from error
    if not jid.local or jid.resource:
        raise _no_name(text, why)
    return jid.local


def _no_name(text: str, why: str) -> AddressError:
    return AddressError(
        f"{text[:80]!a} is not the name of a room",
        why=why,
        fix="Write a name, such as friends, or an address: friends@muc.….onion.",
    )


def parse_room(text: str) -> JID:
    """Return the JID of a room.

    Raises:
        AddressError: It is not one, it names a server, or somebody in a room.
    """
    jid = JID(text)
    if not jid.local or jid.resource:
        raise AddressError(
            f"{text[:80]!a} is not the address of a room",
            why="it names somebody in a room, or one of a person's devices"
            if jid.resource
            else "it names a whole server",
            fix="Write it as friends@muc.….onion, or only friends for a room of "
            "your own server.",
        )
    return jid


def check_nick(text: str) -> str:
    """Return a name for a room, as servers spell it; nothing stays nothing.

    Raises:
        AddressError: It can be none.
    """
    if not text:
        return text
    nowhere = OnionAddress.from_public_key(bytes(32))
    try:
        nick = JID(f"{nowhere}/{text}").resource
    except AddressError as error:
        raise AddressError(
            f"{text[:80]!a} cannot be your name in a room",
            why="XMPP takes letters that Unicode had in 2002, so no emojis, and "
            "nothing that nobody sees; up to 1,023 bytes",
            fix="Choose another: --nick NAME.",
        ) from error
    if not nick.strip():
        raise AddressError(
            f"{text[:80]!a} cannot be your name in a room",
            why="nobody would see it",
            fix="Choose another: --nick NAME.",
        )
    return nick


def not_in(room: JID) -> RoomError:
    """Return the error for a message to a room that we are not in."""
    return RoomError(
        "nothing was sent",
        why="this is the address of a room, and we are not in it",
        fix=f"Join it first: xmpp-onion room join {room}",
    )
