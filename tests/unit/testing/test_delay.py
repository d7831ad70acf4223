import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from xmpp_onion.testing.delay import DelayedPort
from xmpp_onion.testing.ports import free_ports

# Longer than any test waits.
FOR_EVER = 3600.0


@asynccontextmanager
async def echo_behind(delay: float) -> AsyncIterator[int]:
    """Yield the delayed port of a service that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ended.append(ended := asyncio.Event())
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    open_ended: list[asyncio.Event] = []
    (port,) = free_ports(1)
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        target = server.sockets[0].getsockname()[1]
        async with DelayedPort(port, target, delay=delay):
            yield port
        for ended in open_ended:
            await ended.wait()


async def test_everything_arrives_in_order() -> None:
    sent = b"".join(number.to_bytes(4, "big") for number in range(250_000))

    async with echo_behind(0.01) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own port
        writer.write(sent)
        received = await reader.readexactly(len(sent))
        writer.close()

    assert received == sent


async def test_nothing_arrives_before_its_time() -> None:
    async with echo_behind(FOR_EVER) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own port
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        writer.close()


async def test_the_end_of_a_connection_arrives_too() -> None:
    async with echo_behind(0.01) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own port
        writer.write(b"last words")
        writer.write_eof()

        assert await reader.read(-1) == b"last words"
        writer.close()


async def test_a_target_that_does_not_listen_is_a_closed_connection() -> None:
    port, nobody = free_ports(2)
    async with DelayedPort(port, nobody, delay=0.0):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own port

        assert await reader.read(1) == b""
        writer.close()


async def test_leaving_it_cuts_what_is_on_the_way() -> None:
    async with echo_behind(FOR_EVER) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own port
        writer.write(b"hello")
        await asyncio.sleep(0.05)

    assert await reader.read(1) == b""
    writer.close()


async def test_a_side_that_resets_ends_the_connection_and_nothing_else() -> None:
    async with echo_behind(0.05) as port:
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own port
            writer.write(b"hello")
            await asyncio.sleep(0)
            writer.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # noqa: TID251 - to our own port
        writer.write(b"hello")

        assert await reader.readexactly(5) == b"hello"
        writer.close()
