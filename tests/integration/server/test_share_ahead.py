"""The share, asked over one connection without waiting for each answer."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from tests.integration.server.uploads import http, slot_for
from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

SIZE = 300_000


@pytest.fixture
async def member(prosody: Prosody) -> AsyncIterator[LightMember]:
    """Somebody with an account."""
    jid = await prosody.add_account("alice", "pw")
    async with LightMember(jid, "pw", prosody.c2s_port) as one:
        yield one


async def test_objects_asked_for_at_once_come_one_after_the_other(
    prosody: Prosody, member: LightMember
) -> None:
    objects = [secrets.token_bytes(SIZE + number) for number in range(5)]
    targets = []
    for data in objects:
        put, headers, get = await slot_for(prosody, member, len(data))
        head, _ = await http(prosody, "PUT", put, headers, data)
        assert head.startswith(b"http/1.1 201 ")
        targets.append(get)
    reader, writer = await asyncio.open_connection(  # noqa: TID251 - loopback
        "127.0.0.1", prosody.http_port
    )
    for target in targets:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {prosody.onion}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        for data in objects:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(len(data)) == data
    writer.close()
