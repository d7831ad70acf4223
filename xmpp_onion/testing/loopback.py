"""A dialer that never leaves this machine: sessions against a server on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import OnionUnreachableError
from xmpp_onion.transport import Isolation

__all__ = ["LoopbackDialer"]


@dataclass(slots=True)
class LoopbackDialer:
    """Stands in for Tor: whatever onion is asked for, it is at ``port`` here.

    Args:
        port: Where the server listens on 127.0.0.1.
        dialed: What was asked for, in order.
        refusing: While true, every dial fails as if the service were down.
        ports: Virtual ports that are elsewhere on 127.0.0.1.
    """

    port: int
    dialed: list[tuple[OnionAddress, int, Isolation]] = field(default_factory=list)
    refusing: bool = False
    ports: Mapping[int, int] = field(default_factory=dict)
    _wires: list[socket.socket] = field(default_factory=list)

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> socket.socket:
        """Connect to ``port`` on loopback and note what was asked for."""
        self.dialed.append((address, port, isolation))
        # With its protocol named asyncio sends small pieces at once (TCP_NODELAY).
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            await self._connect(sock, self.ports.get(port, self.port), timeout)
            await asyncio.get_running_loop().sock_sendall(sock, first)
        except OSError as error:
            sock.close()
            raise OnionUnreachableError(
                "nobody listens there", host=address, why=str(error)
            ) from error
        except BaseException:  # cancelled meanwhile
            sock.close()
            raise
        self._wires.append(sock)
        return sock

    async def _connect(self, sock: socket.socket, port: int, timeout: float) -> None:
        if self.refusing:
            raise ConnectionRefusedError
        sock.setblocking(False)  # noqa: FBT003 - it takes no keyword
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            await loop.sock_connect(sock, ("127.0.0.1", port))

    def cut(self) -> None:
        """Break every connection, as a lost circuit does: both ends see the end."""
        for wire in self._wires:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        self._wires.clear()
