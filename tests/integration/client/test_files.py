"""Files between two people, through a real Prosody."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client
from xmpp_onion.server import Prosody
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


@pytest.fixture
def wire(prosody: Prosody) -> LoopbackDialer:
    """Stands in for Tor: messages and files have ports of their own."""
    ports = {5280: prosody.http_port}
    return LoopbackDialer(prosody.c2s_port, ports=ports)


@pytest.mark.parametrize("size", [0, 1, 4096, 300_001])
async def test_a_file_arrives_as_it_was_sent(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "report 7.pdf"
    source.write_bytes(secrets.token_bytes(size))
    target = tmp_path / "downloads"
    target.mkdir()
    steps: list[tuple[int, int]] = []
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        asyncio.timeout(60),
    ):
        delivery = await alice.send_file(bob.jid, source)
        message = await anext(bob.messages())
        assert message.attachment is not None
        saved = await message.attachment.save(
            target, lambda done, total: steps.append((done, total))
        )

    assert message.id == delivery.id
    assert saved.read_bytes() == source.read_bytes()
    assert saved.parent == target
    assert list(target.iterdir()) == [saved]
    assert hashlib.sha256(saved.read_bytes()).digest()
    if size:
        assert steps[-1] == (size, size)
