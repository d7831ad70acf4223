"""A session against a server that misbehaves, with waits that suit a test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from xmpp_onion.errors import SessionLostError
from xmpp_onion.session import Remembered, Session, SessionEvent, Timing
from xmpp_onion.testing.hostile import HostileServer
from xmpp_onion.testing.loopback import LoopbackDialer

__all__ = ["QUICK", "Connect", "Line", "first_failure", "read_until", "visit"]

E = TypeVar("E", bound=SessionEvent)

# Retries at once, and waits long for nothing: no test is about time.
QUICK = Timing(dial=60, login=60, goodbye=0.2, first_retry=0.05, longest_retry=0.1)


@asynccontextmanager
async def visit(
    server: HostileServer,
    *,
    tls: bool = True,
    pinned: bool = True,
    timing: Timing = QUICK,
    limit: int = 256,
    tor: LoopbackDialer | None = None,
    known: Remembered | None = None,
    ahead: Callable[[Session], None] | None = None,
) -> AsyncIterator[Session]:
    """Yield a session of the server's one account.

    ``ahead`` says what goes out behind each login.
    """

    async def ask_ahead() -> None:
        if ahead is not None:
            ahead(session)

    async with Session(
        server.jid,
        server.password,
        tor=tor or LoopbackDialer(server.port),
        certificate=server.certificate if pinned else "",
        tls=tls,
        known=known,
        ask_ahead=ask_ahead,
        timing=timing,
        event_limit=limit,
    ) as session:
        yield session


async def first_failure(session: Session) -> None:
    """Raise what a login failed for, when the first one has failed.

    Raises:
        XmppOnionError: That.
    """
    async with asyncio.timeout(60):
        while True:
            try:
                await session.wait_online(0)
            except SessionLostError:  # no attempt has ended yet
                await asyncio.sleep(0.01)


async def read_until(session: Session, kind: type) -> list[object]:
    """Return the session's events up to the first of ``kind``."""
    seen: list[object] = []
    async with asyncio.timeout(120):
        async for event in session.events():
            seen.append(event)
            if isinstance(event, kind):
                break
    return seen


class Line:
    """An account's session, the events that it has yielded, and its wire."""

    def __init__(self, session: Session, tor: LoopbackDialer) -> None:
        self.session = session
        self.tor = tor
        self.seen: list[SessionEvent] = []
        self._events = session.events()

    async def next(self, kind: type[E]) -> E:
        """Read on to the next event of that kind."""
        async with asyncio.timeout(60):
            while True:
                event = await anext(self._events)
                self.seen.append(event)
                if isinstance(event, kind):
                    return event


class Connect(Protocol):
    """Logs an account in, making it if it is new."""

    async def __call__(
        self, local: str, *, tls: bool = True, resource: str = ""
    ) -> Line:
        """Return the session, online."""
