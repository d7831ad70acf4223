"""The only way out of this process: connections through Tor, and our services."""

from xmpp_onion.transport.dial import (
    Endpoint,
    Isolation,
    Purpose,
    dial,
    dial_local,
    listen_local,
    open_local,
    probe,
)
from xmpp_onion.transport.onion import OnionService, create_key, read_address
from xmpp_onion.transport.tor import Tor

__all__ = [
    "Endpoint",
    "Isolation",
    "OnionService",
    "Purpose",
    "Tor",
    "create_key",
    "dial",
    "dial_local",
    "listen_local",
    "open_local",
    "probe",
    "read_address",
]
