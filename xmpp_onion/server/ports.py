"""The loopback ports of a server, each with a name, and the onion's ports for them."""

import secrets
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

__all__ = ["NO_PORTS", "VIRTUAL_PORTS", "Ports", "choose_ports", "read_taken_ports"]

# What the onion has, and which listener answers there: RFC 6120, section 14.7, and
# what http_external_url in prosody-config says. Only listeners that are on count.
VIRTUAL_PORTS = {80: "http", 5222: "c2s", 5269: "s2s", 5280: "http", 443: "https"}
# Below what Linux hands out by itself (ip_local_port_range starts at 32768), so
# that no outgoing connection sits on our port by chance.
_PORTS = range(20000, 32768)
_TCP_LISTEN = "0A"  # the state's number in /proc/net/tcp


class Ports(NamedTuple):
    """The loopback ports of one server; 0 stands for one that is not chosen yet.

    All of them are chosen, also those that are not listened on: whoever switches
    something on later finds its port where it was.

    Attributes:
        c2s: For clients.
        http: For files and pages.
        https: The same in TLS.
        s2s: For other servers.
        c2s_proxy: For clients that Tor announces with a line of their circuit.
    """

    c2s: int = 0
    http: int = 0
    https: int = 0
    s2s: int = 0
    c2s_proxy: int = 0


NO_PORTS = Ports()
"""None of them is chosen."""


def choose_ports(kept: Ports = NO_PORTS) -> Ports:
    """Return ports that nobody listens on at this moment.

    Args:
        kept: Those that are chosen already; the others are filled in.
    """
    unusable = read_taken_ports() | set(kept)
    free = [port for port in _PORTS if port not in unusable]
    fresh = iter(secrets.SystemRandom().sample(free, len(kept)))
    return Ports(*(port or next(fresh) for port in kept))


def read_taken_ports(tables: Collection[Path] | None = None) -> frozenset[int]:
    """Return the TCP ports that somebody listens on, on any address.

    The kernel's tables are read rather than a port bound: it opens no socket.

    Args:
        tables: Where to read; None for ``/proc/net/tcp`` and ``tcp6``.
    """
    if tables is None:
        tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    rows = [
        line.split()
        for table in tables
        if table.exists()
        for line in table.read_text("ascii").splitlines()[1:]
    ]
    return frozenset(
        int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _TCP_LISTEN
    )
