"""Accounts on a real Prosody, and sessions of them without Tor."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.session import Session, Timing
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.visit import Connect, Line

PATIENCE = 60.0
QUICK = Timing(first_retry=0.05, longest_retry=0.2)


@pytest.fixture
async def connect(prosody: Prosody) -> AsyncIterator[Connect]:
    """Log an account in, making it if it is new; all are logged out at the end."""
    made: set[str] = set()
    async with AsyncExitStack() as stack:

        async def enter(local: str, *, tls: bool = True, resource: str = "") -> Line:
            if local not in made:
                await prosody.add_account(local, f"password of {local}")
                made.add(local)
            tor = LoopbackDialer(prosody.c2s_port)
            session = Session(
                JID(f"{local}@{prosody.onion}"),
                f"password of {local}",
                tor=tor,
                certificate=prosody.certificate_fingerprint if tls else "",
                tls=tls,
                resource=resource,
                timing=QUICK,
            )
            await stack.enter_async_context(session)
            await session.wait_online(PATIENCE)
            await session.announce()
            return Line(session, tor)

        yield enter
