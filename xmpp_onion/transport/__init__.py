"""The only way out of this process: connections through Tor, and our services."""

from xmpp_onion.transport.admission import Admission, ClientKey, make_client_key
from xmpp_onion.transport.dial import (
    Endpoint,
    Isolation,
    Purpose,
    dial,
    dial_local,
    listen_local,
    open_local,
    probe,
    tell_local,
)
from xmpp_onion.transport.guard import Guard
from xmpp_onion.transport.onion import OnionService, create_key, read_address
from xmpp_onion.transport.service_folder import CircuitPort
from xmpp_onion.transport.tor import Tor
from xmpp_onion.transport.witness import connections, is_beside_tor, listeners

__all__ = [
    "Admission",
    "CircuitPort",
    "ClientKey",
    "Endpoint",
    "Guard",
    "Isolation",
    "OnionService",
    "Purpose",
    "Tor",
    "connections",
    "create_key",
    "dial",
    "dial_local",
    "is_beside_tor",
    "listen_local",
    "listeners",
    "make_client_key",
    "open_local",
    "probe",
    "read_address",
    "tell_local",
]
