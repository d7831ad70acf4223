import asyncio

from xmpp_onion.testing.echo import EchoService


async def test_each_byte_comes_back_on_its_own_connection() -> None:
    async with EchoService() as service:
        ends = [
            await asyncio.open_connection("127.0.0.1", service.port)  # noqa: TID251 - to our own port
            for _ in range(2)
        ]
        for number, (_, writer) in enumerate(ends):
            writer.write(bytes([number] * 5))

        assert [await reader.readexactly(5) for reader, _ in ends] == [
            bytes(5),
            bytes([1] * 5),
        ]
        for _, writer in ends:
            writer.close()


async def test_leaving_it_ends_every_connection() -> None:
    async with EchoService() as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)  # noqa: TID251 - to our own port
        writer.write(b"?")
        await reader.readexactly(1)

    try:
        left = await reader.read(1)
    except ConnectionResetError:
        left = b""
    writer.close()

    assert left == b""
