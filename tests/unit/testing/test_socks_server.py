"""The server's side of SOCKS5, fed byte for byte over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from xmpp_onion.testing import socks_server
from xmpp_onion.testing.socks_server import RefusedError, Request

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GREETING = b"\x05\x01\x02\x01\x04user\x04pass"
CONNECT = b"\x05\x01\x00\x03\x07x.onion\x14\x66"
REQUEST = Request("x.onion", 5222, "user", "pass")


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Streams, Streams]]:
    """Return both ends of one connection: the program's and the server's."""
    accepted: asyncio.Queue[Streams] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda *streams: accepted.put_nowait(streams), "127.0.0.1", 0
    )
    host, port = server.sockets[0].getsockname()
    program = await asyncio.open_connection(host, port)  # noqa: TID251 - the far end of a proxy
    served = await accepted.get()
    try:
        yield program, served
    finally:
        server.close()
        program[1].close()
        served[1].close()


@asynccontextmanager
async def upstream(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("sent", "request_", "answer"),
    [
        (GREETING + CONNECT, REQUEST, b"\x05\x02\x01\x00"),
        (b"\x05\x01\x00" + CONNECT, Request("x.onion", 5222, "", ""), b"\x05\x00"),
        (b"\x05\x02\x00" + GREETING[2:] + CONNECT, REQUEST, b"\x05\x02\x01\x00"),
    ],
)
async def test_a_request_is_read_in_one_piece_and_byte_by_byte(
    sent: bytes, request_: Request, answer: bytes
) -> None:
    for size in (len(sent), 1):
        async with pair() as ((reader, writer), served):
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await asyncio.sleep(0)

            assert await socks_server.read_request(*served) == request_
            assert await reader.readexactly(len(answer)) == answer


@pytest.mark.parametrize(
    ("sent", "reply", "answer"),
    [
        (b"\x05\x01\x01", 0xFF, b"\x05\xff"),
        (b"\x05\x01\x02\x01\x00\x04pass", 0x01, b"\x05\x02\x01\x01"),
        (b"\x05\x01\x02\x01\x04user\x00", 0x01, b"\x05\x02\x01\x01"),
        (
            b"\x05\x01\x00\x05\xf0\x00\x03\x01x\x00\x50",  # Tor's RESOLVE
            0x07,
            b"\x05\x00" + socks_server.reply(0x07),
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",  # an address
            0x08,
            b"\x05\x00" + socks_server.reply(0x08),
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_and_the_program_told(
    sent: bytes, reply: int, answer: bytes
) -> None:
    async with pair() as ((reader, writer), served):
        writer.write(sent)

        with pytest.raises(RefusedError) as caught:
            await socks_server.read_request(*served)

        assert caught.value.reply == reply
        assert await reader.readexactly(len(answer)) == answer


@pytest.mark.parametrize("size", range(len(GREETING + CONNECT)))
async def test_a_program_that_hangs_up_halfway_is_no_request(size: int) -> None:
    async with pair() as ((_, writer), served):
        writer.write((GREETING + CONNECT)[:size])
        writer.write_eof()

        with pytest.raises(EOFError):
            await socks_server.read_request(*served)


async def test_an_upstream_is_asked_for_the_same() -> None:
    asked: list[Request] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await socks_server.read_request(reader, writer))
        writer.write(socks_server.reply(socks_server.SUCCEEDED) + b"hello")

    async with upstream(serve) as address:
        reader, writer = await socks_server.dial_upstream(address, REQUEST)

        assert asked == [REQUEST]
        assert await reader.readexactly(5) == b"hello"
        writer.close()


@pytest.mark.parametrize(
    ("answers", "reply"),
    [
        (b"\x05\xff", 0x01),
        (b"\x05\x02\x01\x01", 0x01),
        (b"\x05\x02\x01\x00" + socks_server.reply(0xF2), 0xF2),
        (b"\x05\x02\x01\x00\x05\x04\x00\x03\x01x\x00\x50", 0x04),  # bound to a name
    ],
)
async def test_a_refusal_of_the_upstream_is_carried_on(
    answers: bytes, reply: int
) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers)
        await writer.drain()

    async with upstream(serve) as address:
        with pytest.raises(RefusedError) as caught:
            await socks_server.dial_upstream(address, REQUEST)

    assert caught.value.reply == reply


async def test_an_upstream_that_hangs_up_is_an_error_of_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)

    async with upstream(serve) as address:
        with pytest.raises((EOFError, ConnectionError)):
            await socks_server.dial_upstream(address, REQUEST)
