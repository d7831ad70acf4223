"""ChaosProxy against real sockets: what it counts, what it breaks, what it leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from xmpp_onion.testing.chaos import ChaosProxy, Direction

ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
GREETING = b"\x05\x01\x02\x01\x04user\x04pass"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def connect_request(host: str = ONION, port: int = 5222) -> bytes:
    name = host.encode()
    return b"\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2)


async def greeted(proxy: ChaosProxy, greeting: bytes = GREETING) -> Streams:
    host, port = proxy.socks.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))  # noqa: TID251 - this test plays the program behind SOCKS
    writer.write(greeting)
    return reader, writer


async def dialed(proxy: ChaosProxy, host: str = ONION) -> Streams:
    reader, writer = await greeted(proxy)
    writer.write(connect_request(host))
    assert await reader.readexactly(4) == b"\x05\x02\x01\x00"
    assert await reader.readexactly(10) == b"\x05\x00\x00\x01" + bytes(6)
    return reader, writer


@asynccontextmanager
async def echoing(rtt: float = 0.0, loss: float = 0.0) -> AsyncIterator[ChaosProxy]:
    async with (
        listening(echo) as port,
        ChaosProxy(routes={ONION: port}, rtt=rtt, loss=loss) as proxy,
    ):
        yield proxy


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def settled() -> None:
    """Let everything that can happen without new input happen."""
    for _ in range(50):
        await asyncio.sleep(0.001)


def on_the_way(proxy: ChaosProxy) -> int:
    """Return how many chunks were read and not delivered."""
    return sum(link.on_the_way for link in proxy._links)


# --- what is counted ----------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.0, 0.02])
@pytest.mark.parametrize("questions", [0, 1, 7])
async def test_n_questions_and_answers_are_n_plus_1_round_trips(
    questions: int, rtt: float
) -> None:
    async with echoing(rtt) as proxy:
        reader, writer = await dialed(proxy)

        for number in range(questions):
            writer.write(b"%d" % number)
            assert await reader.readexactly(1) == b"%d" % number

        assert proxy.round_trips == questions + 1
        assert proxy.connects == 1
        assert (proxy.bytes_up, proxy.bytes_down) == (questions, questions)
        writer.close()


async def test_questions_in_one_flight_share_a_round_trip() -> None:
    async with echoing() as proxy:
        reader, writer = await dialed(proxy)

        proxy.stall()
        for number in range(5):
            writer.write(b"?")
            while on_the_way(proxy) <= number:  # noqa: ASYNC110 - five chunks, not one
                await asyncio.sleep(0.001)
        proxy.unstall()
        await reader.readexactly(5)

        assert proxy.round_trips == 2
        writer.close()


async def test_a_server_that_speaks_first_costs_no_round_trip() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read()

    async with (
        listening(greet) as port,
        ChaosProxy(routes={ONION: port}, rtt=0.02) as proxy,
    ):
        reader, writer = await dialed(proxy)

        await reader.readexactly(5)

        assert proxy.round_trips == 1
        writer.close()


async def test_data_sent_with_the_connect_costs_no_round_trip() -> None:
    async with echoing(rtt=0.02) as proxy:
        reader, writer = await greeted(proxy)

        writer.write(connect_request() + b"optimistic")
        await reader.readexactly(14)
        await reader.readexactly(10)

        assert proxy.round_trips == 1
        writer.close()


async def test_an_unanswered_word_of_the_client_is_no_round_trip() -> None:
    async def ignore(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        listening(ignore) as port,
        ChaosProxy(routes={ONION: port}) as proxy,
    ):
        _, writer = await dialed(proxy)

        writer.write(b"?")
        await settled()

        assert (proxy.round_trips, proxy.flights, proxy.bytes_up) == (1, 2, 1)
        writer.close()


async def test_a_second_connection_continues_the_count() -> None:
    async with echoing() as proxy:
        for _ in range(3):
            reader, writer = await dialed(proxy)
            writer.write(b"?")
            await reader.readexactly(1)
            writer.close()

        assert proxy.round_trips == 6
        assert proxy.connects == 3


async def test_an_answer_takes_the_round_trip_time() -> None:
    async with echoing(rtt=0.1) as proxy:
        loop = asyncio.get_running_loop()
        started = loop.time()

        reader, writer = await dialed(proxy)
        writer.write(b"?")
        await reader.readexactly(1)

        # The one lower bound in the suite: a timer never fires early.
        assert loop.time() - started >= 0.19
        writer.close()


async def test_much_data_arrives_whole_and_in_order() -> None:
    data = bytes(range(256)) * 20_000
    async with echoing(rtt=0.01) as proxy:
        reader, writer = await dialed(proxy)

        writer.write(data)

        assert await reader.readexactly(len(data)) == data
        assert (proxy.bytes_up, proxy.bytes_down) == (len(data), len(data))
        writer.close()


# --- SOCKS --------------------------------------------------------------------------


async def test_a_slow_way_takes_its_time_and_loses_nothing() -> None:
    loop, data = asyncio.get_running_loop(), bytes(range(250)) * 40
    async with echoing() as proxy:
        proxy.rate = 50_000.0
        reader, writer = await dialed(proxy)
        started = loop.time()
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        assert loop.time() - started >= len(data) / proxy.rate
        writer.close()


def test_a_rate_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        ChaosProxy(routes={}, rate=-1.0)


async def test_what_gets_lost_comes_later_in_order_and_whole() -> None:
    loop, data = asyncio.get_running_loop(), bytes(range(250)) * 400
    async with echoing(loss=0.1) as proxy:
        reader, writer = await dialed(proxy)
        started = loop.time()
        for start in range(0, len(data), 20_000):
            writer.write(data[start : start + 20_000])
            echoed = await reader.readexactly(20_000)
            assert echoed == data[start : start + 20_000]
        assert proxy.lost > 0
        assert loop.time() - started >= 0.2
        assert proxy.bytes_down == len(data)
        writer.close()


async def test_no_packet_gets_lost_unasked() -> None:
    async with echoing() as proxy:
        reader, writer = await dialed(proxy)
        writer.write(bytes(500_000))
        await reader.readexactly(500_000)
        assert proxy.lost == 0
        writer.close()


@pytest.mark.parametrize("loss", [-0.01, 0.51, float("nan")])
def test_a_loss_of_which_nothing_would_arrive_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match=r"0 to 0\.5"):
        ChaosProxy(routes={}, loss=loss)


async def test_the_request_shows_what_tor_would_isolate_by() -> None:
    async with echoing() as proxy:
        _, writer = await dialed(proxy)

        (request,) = proxy.requests

        assert request == (ONION, 5222, "user", "pass")
        writer.close()


async def test_a_program_without_credentials_is_let_in() -> None:
    async with echoing() as proxy:
        reader, writer = await greeted(proxy, b"\x05\x01\x00")
        writer.write(connect_request())

        assert await reader.readexactly(2) == b"\x05\x00"
        assert (await reader.readexactly(10))[1] == 0
        assert proxy.requests[0].username == ""
        writer.close()


async def test_credentials_win_over_none() -> None:
    async with echoing() as proxy:
        reader, writer = await greeted(proxy, b"\x05\x02\x00\x02")

        assert await reader.readexactly(2) == b"\x05\x02"
        writer.close()


@pytest.mark.parametrize("credentials", [b"\x01\x00\x04pass", b"\x01\x04user\x00"])
async def test_empty_credentials_are_refused(credentials: bytes) -> None:
    async with echoing() as proxy:
        reader, writer = await greeted(proxy, b"\x05\x01\x02" + credentials)

        assert await reader.read() == b"\x05\x02\x01\x01"
        assert proxy.connects == 0
        writer.close()


async def test_an_unknown_method_is_refused() -> None:
    async with echoing() as proxy:
        reader, writer = await greeted(proxy, b"\x05\x01\x01")

        assert await reader.read() == b"\x05\xff"
        writer.close()


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (b"\x05\xf0\x00\x03\x01x\x00\x50", 0x07),  # RESOLVE
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", 0x08),  # an IPv4 address
        (connect_request("x" * 56 + ".onion"), 0xF0),
    ],
)
async def test_what_cannot_be_done_is_answered_with_its_code(
    request_: bytes, reply: int
) -> None:
    async with echoing() as proxy:
        reader, writer = await greeted(proxy)
        writer.write(request_)

        answer = await reader.read()

        assert answer[4:6] == bytes((5, reply))
        writer.close()


async def test_a_closed_port_behind_the_onion_is_reply_1() -> None:
    async with listening(echo) as port:
        pass

    async with ChaosProxy(routes={ONION: port}) as proxy:
        reader, writer = await greeted(proxy)
        writer.write(connect_request())

        assert (await reader.read())[5] == 0x01
        writer.close()


@pytest.mark.parametrize("host", [f"muc.{ONION}", ONION.upper()])
async def test_sub_domains_and_capitals_reach_the_same_service(host: str) -> None:
    async with echoing() as proxy:
        _, writer = await dialed(proxy, host)

        assert proxy.requests[0].host == host
        writer.close()


async def test_an_upstream_gets_name_port_and_credentials_unchanged() -> None:
    async with (
        listening(echo) as port,
        ChaosProxy(routes={ONION: port}) as tor,
        ChaosProxy(tor.socks) as proxy,
    ):
        reader, writer = await dialed(proxy)
        writer.write(b"?")
        await reader.readexactly(1)

        assert tor.requests == proxy.requests
        assert proxy.round_trips == 2
        writer.close()


async def test_an_upstream_without_credentials_gets_none() -> None:
    async with (
        listening(echo) as port,
        ChaosProxy(routes={ONION: port}) as tor,
        ChaosProxy(tor.socks) as proxy,
    ):
        reader, writer = await greeted(proxy, b"\x05\x01\x00")
        writer.write(connect_request())
        await reader.readexactly(12)

        assert tor.requests[0].username == ""
        writer.close()


async def test_the_code_of_an_upstream_comes_through() -> None:
    async with (
        ChaosProxy(routes={}) as tor,
        ChaosProxy(tor.socks) as proxy,
    ):
        reader, writer = await greeted(proxy)
        writer.write(connect_request())

        assert (await reader.read())[5] == 0xF0
        writer.close()


# --- mischief -----------------------------------------------------------------------


async def test_a_cut_ends_all_connections_and_new_ones_live() -> None:
    async with echoing() as proxy:
        first, one = await dialed(proxy)
        second, two = await dialed(proxy)

        proxy.cut()

        assert await closed(first)
        assert await closed(second)
        assert proxy.open_connections == 0
        reader, three = await dialed(proxy)
        three.write(b"?")
        assert await reader.readexactly(1) == b"?"
        for writer in (one, two, three):
            writer.close()


async def test_a_cut_loses_what_is_on_the_way() -> None:
    async with echoing() as proxy:
        reader, writer = await dialed(proxy)
        proxy.rtt = 600
        writer.write(b"?")
        await settled()

        proxy.cut()

        assert await closed(reader)
        assert (proxy.bytes_up, proxy.bytes_down) == (0, 0)
        writer.close()


async def test_cut_after_is_exact_to_the_byte() -> None:
    async with echoing() as proxy:
        reader, writer = await dialed(proxy)

        proxy.cut_after(13)  # ten go up, three come back
        writer.write(b"0123456789")

        assert await reader.readexactly(3) == b"012"
        assert await closed(reader)
        assert (proxy.bytes_up, proxy.bytes_down) == (10, 3)
        again, other = await dialed(proxy)
        other.write(b"whole")
        assert await again.readexactly(5) == b"whole"
        writer.close()
        other.close()


async def test_a_stall_holds_everything_back_and_loses_nothing() -> None:
    async with echoing() as proxy:
        reader, writer = await dialed(proxy)

        proxy.stall()
        writer.write(b"held")
        await settled()
        assert (proxy.bytes_up, proxy.open_connections) == (0, 1)
        proxy.unstall()

        assert await reader.readexactly(4) == b"held"
        writer.close()


@pytest.mark.parametrize(("direction", "up"), [(Direction.UP, 0), (Direction.DOWN, 4)])
async def test_swallowed_bytes_are_gone_and_a_new_connection_is_whole(
    direction: Direction, up: int
) -> None:
    async with echoing() as proxy:
        _, writer = await dialed(proxy)

        proxy.swallow(direction)
        writer.write(b"gone")
        await settled()

        assert (proxy.bytes_up, proxy.bytes_down) == (up, 0)
        assert proxy.open_connections == 1
        reader, other = await dialed(proxy)
        other.write(b"whole")
        assert await reader.readexactly(5) == b"whole"
        writer.close()
        other.close()


async def test_a_half_closed_stream_ends_both_ways() -> None:
    async with echoing() as proxy:
        reader, writer = await dialed(proxy)

        writer.write_eof()

        assert await closed(reader)
        writer.close()


async def test_what_the_server_said_before_it_closed_arrives() -> None:
    async def part(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"farewell")

    async with (
        listening(part) as port,
        ChaosProxy(routes={ONION: port}, rtt=0.02) as proxy,
    ):
        reader, writer = await dialed(proxy)

        assert await reader.read() == b"farewell"
        writer.close()


# --- what is left -------------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.0, 60.0])
async def test_leaving_ends_every_task_and_connection(rtt: float) -> None:
    before = asyncio.all_tasks()
    async with echoing() as proxy:
        streams = [await dialed(proxy) for _ in range(3)]
        streams.append(await greeted(proxy))
        proxy.rtt = rtt
        streams[0][1].write(b"on the way")
        await settled()
    await settled()

    assert asyncio.all_tasks() == before
    assert proxy.open_connections == 0
    for reader, writer in streams[:3]:
        assert rtt == 0.0 or await closed(reader)
        writer.close()
    streams[3][1].close()


async def test_a_program_that_gives_up_before_the_answer_leaves_nothing() -> None:
    async with echoing(rtt=60) as proxy:
        _, writer = await greeted(proxy)
        writer.write(connect_request())
        await settled()
        assert proxy.open_connections == 1

        writer.close()
        await settled()

        assert proxy.open_connections == 0


async def test_an_error_of_the_user_comes_out_as_it_is() -> None:
    async def fail_beside_an_open_connection() -> None:
        async with echoing() as proxy:
            _, writer = await dialed(proxy)
            try:
                raise LookupError
            finally:
                writer.close()

    with pytest.raises(LookupError):
        await fail_beside_an_open_connection()


@pytest.mark.parametrize(
    ("upstream", "routes", "rtt"),
    [(None, None, 0.0), ("127.0.0.1:1", {}, 0.0), (None, {}, -1.0)],
)
def test_a_proxy_that_makes_no_sense_is_refused(
    upstream: str | None, routes: dict[str, int] | None, rtt: float
) -> None:
    with pytest.raises(ValueError, match=r"give either|negative"):
        ChaosProxy(upstream, routes=routes, rtt=rtt)


# --- idle -------------------------------------------------------------------------


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


async def test_it_is_idle_when_nothing_is_on_the_way() -> None:
    async with echoing() as proxy:
        assert proxy.is_idle
        proxy.stall()
        reader, writer = await greeted(proxy)
        writer.write(connect_request())
        await until(lambda: proxy.connects == 1)
        connecting = proxy.is_idle
        proxy.unstall()
        await reader.readexactly(14)
        await until(lambda: proxy.is_idle)
        proxy.stall()
        writer.write(b"ping")
        await until(lambda: not proxy.is_idle)
        proxy.unstall()

        assert await reader.readexactly(4) == b"ping"
        await until(lambda: proxy.is_idle)
        assert not connecting
        writer.close()


async def test_what_is_lost_is_not_on_the_way() -> None:
    async with echoing() as proxy:
        _, writer = await dialed(proxy)
        proxy.swallow(Direction.UP)
        writer.write(b"ping")
        await settled()

        assert proxy.is_idle
        writer.close()
