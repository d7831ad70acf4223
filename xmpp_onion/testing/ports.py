"""Loopback ports that nothing listens on."""

import secrets
import socket

from xmpp_onion.testing.torrc import LOOPBACK

__all__ = ["are_free", "free_ports"]

# Below the range from which systems take the near end of outgoing connections
# (Linux 32768, others 49152): a port from there, picked now and bound in a
# second, is lost to a connection every few dozen starts.
_FIRST = 12_000
_COUNT = 20_000


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago; somebody may still be faster."""
    ports: set[int] = set()
    while len(ports) < count:
        port = _FIRST + secrets.randbelow(_COUNT)
        if are_free(port):
            ports.add(port)
    return list(ports)


def are_free(*ports: int) -> bool:
    """Tell whether all of these can be listened on."""
    return all(_is_free(port) for port in ports)


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        # As tor does: connections of a network just gone do not count.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
