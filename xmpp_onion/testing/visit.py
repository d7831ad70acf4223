"""A session against a server that misbehaves, with waits that suit a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xmpp_onion.session import Session, Timing
from xmpp_onion.testing.hostile import HostileServer
from xmpp_onion.testing.loopback import LoopbackDialer

__all__ = ["QUICK", "read_until", "visit"]

# Retries at once, and waits long for nothing: no test is about time.
QUICK = Timing(dial=10, login=10, goodbye=0.2, first_retry=0.05, longest_retry=0.1)


@asynccontextmanager
async def visit(
    server: HostileServer,
    *,
    tls: bool = True,
    pinned: bool = True,
    timing: Timing = QUICK,
    limit: int = 256,
    tor: LoopbackDialer | None = None,
) -> AsyncIterator[Session]:
    """Yield a session of the server's one account."""
    async with Session(
        server.jid,
        server.password,
        tor=tor or LoopbackDialer(server.port),
        certificate=server.certificate if pinned else "",
        tls=tls,
        timing=timing,
        event_limit=limit,
    ) as session:
        yield session


async def read_until(session: Session, kind: type) -> list[object]:
    """Return the session's events up to the first of ``kind``."""
    seen: list[object] = []
    async with asyncio.timeout(20):
        async for event in session.events():
            seen.append(event)
            if isinstance(event, kind):
                break
    return seen
