"""The share, asked over one connection without waiting for each answer."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, TypeAlias

import pytest

from tests.integration.server.uploads import http, slot_for
from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

SIZE = 300_000
Slot: TypeAlias = tuple[str, str, str]
"""Where it is put, the lines that go with it, and where it is got."""


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


def resumable(put: str) -> str:
    """Return the other door to an object, where it goes on."""
    return "/resume/" + put.split("/", 2)[2]


class Sender:
    """A connection on which objects are stored without waiting for answers."""

    def __init__(self, prosody: Prosody) -> None:
        self._prosody = prosody

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(  # noqa: TID251 - loopback
            "127.0.0.1", self._prosody.http_port
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    def begin(self, slot: Slot) -> None:
        put, headers, _ = slot
        self._writer.write(
            f"PUT {resumable(put)} HTTP/1.1\r\nHost: {self._prosody.onion}\r\n"
            f"Content-Length: {SIZE}\r\nUpload-Offset: 0\r\n{headers}\r\n".encode()
        )

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> bytes:
        async with asyncio.timeout(60):
            head = await self._reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 0\r\n" in head.lower()
        return head.split()[1]


@asynccontextmanager
async def one_and_a_bit(
    prosody: Prosody, member: LightMember
) -> AsyncIterator[tuple[Sender, bytes, Slot, Slot]]:
    """Store one object, and 100,000 bytes of the next, which is the same."""
    first, second = [await slot_for(prosody, member, SIZE) for _ in range(2)]
    data = secrets.token_bytes(SIZE)
    async with Sender(prosody) as sender:
        sender.begin(first)
        sender.send(data)
        sender.begin(second)
        sender.send(data[:100_000])
        assert await sender.answer() == b"201"
        yield sender, data, first, second


async def test_objects_sent_at_once_are_all_stored(
    prosody: Prosody, member: LightMember
) -> None:
    objects = [secrets.token_bytes(SIZE) for _ in range(5)]
    slots = [await slot_for(prosody, member, SIZE) for _ in objects]
    async with Sender(prosody) as sender:
        for slot, data in zip(slots, objects, strict=True):
            sender.begin(slot)
            sender.send(data)
        answers = [await sender.answer() for _ in objects]

    assert answers == [b"201"] * 5
    for (_, _, get), data in zip(slots, objects, strict=True):
        assert (await http(prosody, "GET", get))[1] == data


async def test_who_asks_for_a_stored_object_does_not_end_what_follows_it(
    prosody: Prosody, member: LightMember
) -> None:
    async with one_and_a_bit(prosody, member) as (sender, data, first, _):
        _, said = await http(prosody, "GET", resumable(first[0]), first[1])

        assert said == b"all"
        sender.send(data[100_000:])
        assert await sender.answer() == b"201"


async def test_of_several_that_broke_off_each_is_kept(
    prosody: Prosody, member: LightMember
) -> None:
    async with one_and_a_bit(prosody, member) as (_, _, first, second):
        kept = [
            (await http(prosody, "GET", resumable(put), headers))[1]
            for put, headers, _ in (first, second)
        ]

    assert kept[0] == b"all"
    assert int(kept[1]) <= 100_000
