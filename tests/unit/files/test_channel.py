"""TLS inside of an onion's own encryption, over a socket that somebody else opened."""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Place
from xmpp_onion.errors import TransferError
from xmpp_onion.files.channel import Plain, Tls
from xmpp_onion.files.http import Wire
from xmpp_onion.files.way import Pace
from xmpp_onion.server.certificate import make_certificate
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.transport import Isolation, Purpose

ONION = OnionAddress.from_public_key(bytes(32))
PLACE = Place(ONION, 443, "/x")
ISOLATION = Isolation("alice@x", Purpose.FILES)
Served: TypeAlias = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]
]


@asynccontextmanager
async def serving(
    served: Served, context: ssl.SSLContext | None
) -> AsyncIterator[LoopbackDialer]:
    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await served(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        async with asyncio.timeout(60):
            yield LoopbackDialer(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A certificate that signs itself, as our servers have."""
    key, chain = make_certificate(ONION, now=datetime.now(UTC))
    (tmp_path / "pem").write_bytes(key + chain)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(tmp_path / "pem")
    return made


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100_000):
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 1_000_000])
async def test_what_is_sent_comes_back_as_it_was(
    context: ssl.SSLContext, size: int
) -> None:
    data, came = secrets.token_bytes(size), bytearray()
    async with serving(echo, context) as way:
        channel = await begin(way)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(channel.send(data))
            while len(came) < size:
                came += await channel.receive()
        channel.close()

    assert came == data


async def test_the_end_is_the_end(context: ssl.SSLContext) -> None:
    async def bye(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    async with serving(bye, context) as way:
        channel = await begin(way)
        came = [await channel.receive(), await channel.receive()]
        channel.close()

    assert came == [b"bye", b""]


async def test_the_server_is_told_which_onion_is_meant(
    context: ssl.SSLContext,
) -> None:
    names: list[str | None] = []
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    async with serving(echo, context) as way:
        (await begin(way)).close()

    assert names == [ONION]


async def rubbish(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()
    await reader.read()


async def leave(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


@pytest.mark.parametrize(
    ("served", "can_retry"), [(rubbish, False), (silence, True), (leave, True)]
)
async def test_who_speaks_no_tls_gets_no_request(
    served: Served, *, can_retry: bool
) -> None:
    pace = Pace(answer=0.2)
    async with serving(served, None) as way:
        with pytest.raises(TransferError) as refused:
            await Wire.connect(way, PLACE, isolation=ISOLATION, pace=pace)

    assert refused.value.can_retry == can_retry


async def begin(way: LoopbackDialer) -> Tls:
    return await Tls.begin(
        Plain(await way.dial(ONION, 443, isolation=ISOLATION)), ONION
    )
