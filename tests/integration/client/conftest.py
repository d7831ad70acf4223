"""People with accounts on a real Prosody; clients that reach it without Tor."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import JID, Account, Trust
from xmpp_onion.server import Prosody
from xmpp_onion.session import register
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]


@pytest.fixture
def wire(prosody: Prosody) -> LoopbackDialer:
    """Stands in for Tor."""
    return LoopbackDialer(prosody.c2s_port)


@pytest.fixture
def enrol(prosody: Prosody, wire: LoopbackDialer, tmp_path: Path) -> Enrol:
    """Makes an account by invite and keeps it in a profile of its name."""

    async def make(name: str, trust: Trust = Trust.BTBV) -> Account:
        certificate = await register(
            await prosody.invite(name), name, f"secret of {name}", tor=wire
        )
        account = Account(
            profile=name,
            folder=tmp_path / "data" / name,
            jid=JID(f"{name}@{prosody.onion}"),
            password=f"secret of {name}",
            trust=trust,
            certificate=certificate,
        )
        account.save()
        return account

    return make
