"""Private messaging carried only by Tor onion services: XMPP with OMEMO.

Importing this package is cheap: each name is loaded when it is first used, so that
a command's ``--help`` does not wait for the encryption libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from xmpp_onion.version import __version__

if TYPE_CHECKING:
    from xmpp_onion.account import Account
    from xmpp_onion.address import JID, Introduction, Invite, OnionAddress
    from xmpp_onion.bot import Bot
    from xmpp_onion.chat import (
        Affiliation,
        Attachment,
        ContactAccepted,
        ContactRemoved,
        ContactRequest,
        Correction,
        Delivery,
        DeliveryFailed,
        DeliveryState,
        Event,
        Gap,
        KeyChanged,
        KeyReuse,
        Message,
        Moderated,
        MoreRequests,
        Moved,
        NewDevice,
        Occupant,
        OwnMessage,
        Reaction,
        Receipt,
        Retraction,
        RolledBack,
        RoomChange,
        RoomEvent,
        RoomState,
        TrustChanged,
        Typing,
        Undecryptable,
    )
    from xmpp_onion.client import Client
    from xmpp_onion.e2ee import Device, Trust, TrustLevel
    from xmpp_onion.errors import XmppOnionError
    from xmpp_onion.rooms import Room
    from xmpp_onion.seal import Secret
    from xmpp_onion.transport import OnionService, Tor

# Where each public name lives; sorted inside its group.
_HOMES = {
    # who and where
    "Account": "account",
    "Introduction": "address",
    "Invite": "address",
    "JID": "address",
    "OnionAddress": "address",
    "Secret": "seal",
    # talking
    "Attachment": "chat",
    "Affiliation": "chat",
    "Bot": "bot",
    "Client": "client",
    "ContactAccepted": "chat",
    "ContactRemoved": "chat",
    "ContactRequest": "chat",
    "Correction": "chat",
    "Delivery": "chat",
    "DeliveryFailed": "chat",
    "DeliveryState": "chat",
    "Event": "chat",
    "Gap": "chat",
    "KeyChanged": "chat",
    "KeyReuse": "chat",
    "Message": "chat",
    "Moderated": "chat",
    "MoreRequests": "chat",
    "Moved": "chat",
    "NewDevice": "chat",
    "Occupant": "chat",
    "OwnMessage": "chat",
    "Reaction": "chat",
    "Receipt": "chat",
    "Retraction": "chat",
    "RolledBack": "chat",
    "Room": "rooms",
    "RoomChange": "chat",
    "RoomEvent": "chat",
    "RoomState": "chat",
    "TrustChanged": "chat",
    "Typing": "chat",
    "Undecryptable": "chat",
    # trust
    "Device": "e2ee",
    "Trust": "e2ee",
    "TrustLevel": "e2ee",
    # Tor
    "OnionService": "transport",
    "Tor": "transport",
    # errors: the rest are in xmpp_onion.errors
    "XmppOnionError": "errors",
}

__all__ = [
    "JID",
    "Account",
    "Affiliation",
    "Attachment",
    "Bot",
    "Client",
    "ContactAccepted",
    "ContactRemoved",
    "ContactRequest",
    "Correction",
    "Delivery",
    "DeliveryFailed",
    "DeliveryState",
    "Device",
    "Event",
    "Gap",
    "Introduction",
    "Invite",
    "KeyChanged",
    "KeyReuse",
    "Message",
    "Moderated",
    "MoreRequests",
    "Moved",
    "NewDevice",
    "Occupant",
    "OnionAddress",
    "OnionService",
    "OwnMessage",
    "Reaction",
    "Receipt",
    "Retraction",
    "RolledBack",
    "Room",
    "RoomChange",
    "RoomEvent",
    "RoomState",
    "Secret",
    "Tor",
    "Trust",
    "TrustChanged",
    "TrustLevel",
    "Typing",
    "Undecryptable",
    "XmppOnionError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
