"""Where it is measured: a Prosody on loopback, and a long way to it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from xmpp_onion.bench.peers import Login
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.prosody_modules import add_quick_login, find_modules

__all__ = ["Stage", "quiet"]

# What counts as quiet: nothing on the way at so many looks, so many seconds apart.
# A program may think that long before it says the next thing.
_LOOKS = 6
_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Stage:
    """A server that runs.

    Attributes:
        server: It.
        folder: For what contestants keep.
        rate: Bytes that each way of a connection takes in a second; 0 for no limit.
        loss: The part of packets that get lost on the way, and come later.
    """

    server: Prosody
    folder: Path
    rate: float = 0.0
    loss: float = 0.0

    @classmethod
    @asynccontextmanager
    async def build(
        cls,
        folder: Path,
        *,
        program: str = "prosody",
        rate: float = 0.0,
        loss: float = 0.0,
    ) -> AsyncIterator[Self]:
        """Start a server of our configuration in a folder.

        Debian's prosody-modules are in it where they are (`find_modules`, or in
        Prosody's own path): logins are quick then.

        Args:
            folder: An empty one.
            program: The Prosody, by name or path.
            rate: As above.
            loss: As above.
        """
        initialise(folder / "server")
        if modules := find_modules():
            add_quick_login(folder / "server", modules, program=program)
        async with Prosody(folder / "server", program=program) as server:
            yield cls(server, folder, rate, loss)

    def way(self, rtt: float = 0.0) -> ChaosProxy:
        """Return a way to the server, so long; enter it."""
        return ChaosProxy(
            routes={str(self.server.onion): self.server.c2s_port},
            rtt=rtt,
            rate=self.rate,
            loss=self.loss,
        )

    async def enrol(self, local: str, way: ChaosProxy) -> Login:
        """Make a new account that goes this way to the server."""
        password = secrets.token_urlsafe()
        name = f"{local}-{secrets.token_hex(4)}"
        jid = await self.server.add_account(name, password)
        home = self.folder / name
        home.mkdir(mode=0o700)
        return Login(jid, password, way.socks, self.server, home)


async def quiet(way: ChaosProxy) -> None:
    """Wait until nothing is on the way any more, so that two figures do not mix."""
    seen, calm = -1, 0
    while calm < _LOOKS:
        moved = way.bytes_up + way.bytes_down
        calm = calm + 1 if moved == seen and way.is_idle else 0
        seen = moved
        await asyncio.sleep(_PAUSE)
