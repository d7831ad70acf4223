"""The way to where objects lie: who dials, on which circuit, and how slow it may be."""

import secrets
from dataclasses import dataclass
from typing import Final, Protocol

from xmpp_onion.address import OnionAddress
from xmpp_onion.files.channel import Connection
from xmpp_onion.transport import Isolation, Purpose

__all__ = ["Dialer", "Pace", "isolated"]

_DIAL_TIMEOUT: Final = 60.0


class Dialer(Protocol):
    """What a transfer needs of Tor; the tests have one that stays on loopback."""

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = _DIAL_TIMEOUT,
    ) -> Connection:
        """Connect to an onion service and return the connected socket."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow a server may be before another circuit is tried.

    Attributes:
        idle: Seconds without a byte, either way.
        answer: Seconds until an answer begins. What we sent may still be on its way:
            Tor and the kernel hold several megabytes between us and the server.
        window: In so many seconds at least ``window_bytes`` have to come: who drips
            a byte a minute is not waited for.
        window_bytes: A circuit of a kilobyte a second is worse than another one.
    """

    idle: float = 60.0
    answer: float = 300.0
    window: float = 120.0
    window_bytes: int = 64 * 1024


def isolated(account: str) -> Isolation:
    """Return the isolation of one transfer: a circuit that nothing else uses."""
    return Isolation(account, Purpose.FILES, turn=secrets.randbits(62) + 1)
