"""The only way out of this process: connections through Tor, and our services.

Each name is loaded when it is first used: what only talks to another process of this
machine need not wait for what speaks to Tor.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmpp_onion.transport.admission import Admission, ClientKey, make_client_key
    from xmpp_onion.transport.descriptor import Published
    from xmpp_onion.transport.dial import Endpoint, Isolation, Purpose, probe
    from xmpp_onion.transport.guard import Guard
    from xmpp_onion.transport.lifeline import Lifeline
    from xmpp_onion.transport.listener import Listener, Peer
    from xmpp_onion.transport.local import (
        dial_local,
        listen_local,
        open_local,
        open_streams,
        peer_process,
        peer_user,
        tell_local,
    )
    from xmpp_onion.transport.onion import OnionService, create_key, read_address, sign
    from xmpp_onion.transport.process import find_launched
    from xmpp_onion.transport.service_folder import CircuitPort
    from xmpp_onion.transport.tor import Tor
    from xmpp_onion.transport.witness import connections, is_beside_tor, listeners

# Where each name lives.
_HOMES = {
    "Admission": "admission",
    "CircuitPort": "service_folder",
    "ClientKey": "admission",
    "Endpoint": "dial",
    "Guard": "guard",
    "Isolation": "dial",
    "Lifeline": "lifeline",
    "Listener": "listener",
    "OnionService": "onion",
    "Peer": "listener",
    "Published": "descriptor",
    "Purpose": "dial",
    "Tor": "tor",
    "connections": "witness",
    "create_key": "onion",
    "dial_local": "local",
    "find_launched": "process",
    "is_beside_tor": "witness",
    "listen_local": "local",
    "listeners": "witness",
    "make_client_key": "admission",
    "open_local": "local",
    "open_streams": "local",
    "peer_process": "local",
    "peer_user": "local",
    "probe": "dial",
    "read_address": "onion",
    "sign": "onion",
    "tell_local": "local",
}

__all__ = [
    "Admission",
    "CircuitPort",
    "ClientKey",
    "Endpoint",
    "Guard",
    "Isolation",
    "Lifeline",
    "Listener",
    "OnionService",
    "Peer",
    "Published",
    "Purpose",
    "Tor",
    "connections",
    "create_key",
    "dial_local",
    "find_launched",
    "is_beside_tor",
    "listen_local",
    "listeners",
    "make_client_key",
    "open_local",
    "open_streams",
    "peer_process",
    "peer_user",
    "probe",
    "read_address",
    "sign",
    "tell_local",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
