"""Objects that are asked for while another comes, and what a server may make of it."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import pytest

from xmpp_onion.chat import Place
from xmpp_onion.errors import TransferError
from xmpp_onion.files.http import Wire
from xmpp_onion.files.lane import Lane
from xmpp_onion.files.tempo import Tempo
from xmpp_onion.files.way import Pace, isolated
from xmpp_onion.testing.hostile_http import PLACE, Server, listening, ok

SIZE = 100_000
FIRST, SECOND, THIRD = (replace(PLACE, target=f"/share/{n}") for n in "123")
PACE = Pace(idle=60, answer=60, window_bytes=0)
END = 100
# What an answer takes to begin: so long nothing is asked for ahead.
LATENCY = 0.05


class Asking:
    """What comes over one connection, in its order."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        requests: list[bytes],
    ) -> None:
        self.writer = writer
        self._all = requests
        self.targets = list[bytes]()
        self._reader = reader
        self._came = asyncio.Condition()

    async def read(self) -> None:
        while head := await self._reader.readuntil(b"\r\n\r\n"):
            async with self._came:
                self.targets.append(head.split()[1])
                self._all.append(head.split()[1])
                self._came.notify_all()

    async def until(self, count: int) -> None:
        """Return when so many requests came."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.targets) >= count)

    async def begin(self, body: bytes, *headers: str) -> bytes:
        """Answer the first request, and return the end of the body: it is left out."""
        await self.until(1)
        await asyncio.sleep(LATENCY)
        self.writer.write(ok(body[:-END], *headers, length=len(body)))
        return body[-END:]

    async def drip(self, end: bytes, count: int) -> None:
        """Give one byte after the other, and the rest when so many requests came."""
        while end and len(self.targets) < count:
            self.writer.write(end[:1])
            end = end[1:]
            await asyncio.sleep(LATENCY)
        self.writer.write(end)


Behaviour: TypeAlias = Callable[[Asking], Awaitable[None]]


@asynccontextmanager
async def serving(*behaviours: Behaviour) -> AsyncIterator[Server]:
    """Behave on each connection as told; on the last for ever."""
    left = list(behaviours)

    async def handle(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asking = Asking(reader, writer, server.requests)
        behave = left.pop(0) if len(left) > 1 else left[0]
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(asking.read())
            await behave(asking)
            reading.cancel()

    async with listening(handle) as server, asyncio.timeout(60):
        yield server


def body_of(target: bytes) -> bytes:
    return target[-1:] * SIZE


async def answers(asking: Asking) -> None:
    """Answer whatever it is asked, one at a time."""
    for number in range(10):
        await asking.until(number + 1)
        asking.writer.write(ok(body_of(asking.targets[number])))
        await asking.writer.drain()


async def connected(server: Server) -> Wire:
    return await Wire.connect(
        server.dialer, FIRST, isolation=isolated("alice@x.onion"), pace=PACE
    )


async def fetch(lane: Lane, place: Place, *then: Place) -> bytes:
    """Fetch an object, with others to be fetched behind it."""
    following = iter(then)
    into = io.BytesIO()
    await lane.fetch(
        place,
        into,
        allow=lambda _size: None,
        told=lambda _done, _total: None,
        following=lambda: next(following, None),
    )
    return into.getvalue()


def lane(server: Server, patience: float = 60.0) -> Lane:
    return Lane(server.dialer, "alice@x.onion", pace=PACE, patience=patience)


class Eager(Tempo):
    """It is always time."""

    def is_time(self, left: int, now: float) -> bool:  # noqa: ARG002 - as Tempo has it
        return True


async def test_the_next_object_is_asked_for_while_one_comes() -> None:
    async def behave(asking: Asking) -> None:
        end = await asking.begin(body_of(b"1"))
        await asking.drip(end, 2)
        asking.writer.write(ok(body_of(b"2")))
        await asking.until(3)  # what was claimed before is not asked for again
        asking.writer.write(ok(body_of(b"3")))
        await asking.writer.drain()

    async with serving(behave) as server, lane(server) as one:
        assert await fetch(one, FIRST, SECOND) == body_of(b"1")
        assert await fetch(one, SECOND) == body_of(b"2")
        assert await fetch(one, THIRD) == body_of(b"3")

    assert server.requests == [b"/share/1", b"/share/2", b"/share/3"]
    assert len(server.dialer.dialed) == 1


async def test_answers_come_in_the_order_of_the_questions_in_pieces_of_any_size() -> (
    None
):
    async def behave(asking: Asking) -> None:
        await asking.until(3)
        everything = b"".join(ok(body_of(target)) for target in asking.targets)
        for start in range(0, len(everything), 33_333):
            asking.writer.write(everything[start : start + 33_333])
            await asking.writer.drain()

    async with serving(behave) as server:
        wire = await connected(server)
        for place in (FIRST, SECOND, THIRD):
            await wire.ask(place)
        for number, place in enumerate((FIRST, SECOND, THIRD), 1):
            body = await wire.get(place)
            came = b"".join([piece async for piece in body.pieces])
            assert came == body_of(b"%d" % number)
        assert wire.is_reusable
        wire.close()


async def test_an_answer_may_begin_long_after_the_one_before_has_ended() -> None:
    ended = asyncio.Event()

    async def behave(asking: Asking) -> None:
        await asking.until(2)
        asking.writer.write(ok(body_of(b"1")))
        await ended.wait()
        asking.writer.write(ok(body_of(b"2")))
        await asking.writer.drain()

    async with serving(behave) as server:
        wire = await connected(server)
        await wire.ask(FIRST)
        await wire.ask(SECOND)
        for number, place in enumerate((FIRST, SECOND), 1):
            body = await wire.get(place)
            came = b"".join([piece async for piece in body.pieces])
            assert came == body_of(b"%d" % number)
            ended.set()
        wire.close()


async def test_of_many_only_four_are_asked_for() -> None:
    async with serving(answers) as server:
        wire = await connected(server)
        wire._tempo = Eager()
        await wire.get(FIRST)
        asked = 0
        while wire.is_time(0, SIZE):
            await wire.ask(SECOND)
            asked += 1
        wire.close()

    assert asked == 4


async def test_what_a_server_does_not_answer_is_asked_for_over_another_circuit() -> (
    None
):
    async def closes(asking: Asking) -> None:
        await asking.drip(await asking.begin(body_of(b"1")), 2)
        await asking.writer.drain()

    async with serving(closes, answers) as server, lane(server) as one:
        assert await fetch(one, FIRST, SECOND) == body_of(b"1")
        assert await fetch(one, SECOND) == body_of(b"2")

    assert server.requests == [b"/share/1", b"/share/2", b"/share/2"]
    first, second = (isolation for _, _, isolation in server.dialer.dialed)
    assert first.credentials() != second.credentials()


async def test_what_broke_off_goes_on_before_what_was_asked_for_behind_it() -> None:
    async def breaks(asking: Asking) -> None:
        end = await asking.begin(body_of(b"1"))
        await asking.drip(end[: END // 2], 2)

    async with serving(breaks, answers) as server, lane(server) as one:
        assert await fetch(one, FIRST, SECOND) == body_of(b"1")
        assert await fetch(one, SECOND) == body_of(b"2")

    assert server.requests == [b"/share/1", b"/share/2", b"/share/1", b"/share/2"]


async def test_who_says_that_it_will_close_is_asked_for_nothing_more() -> None:
    async def last(asking: Asking) -> None:
        end = await asking.begin(body_of(b"1"), "Connection: close")
        await asking.drip(end[:5], 2)  # so long that there is time to ask
        asking.writer.write(end[5:])
        await asking.writer.drain()

    async with serving(last, answers) as server, lane(server) as one:
        assert await fetch(one, FIRST, SECOND) == body_of(b"1")
        assert await fetch(one, SECOND) == body_of(b"2")

    assert server.requests == [b"/share/1", b"/share/2"]
    assert len(server.dialer.dialed) == 2


async def test_a_refusal_is_that_of_the_object_whose_turn_it_is() -> None:
    async def refuses(asking: Asking) -> None:
        await asking.drip(await asking.begin(body_of(b"1")), 2)
        asking.writer.write(ok(b"no", status="404 No"))
        await asking.writer.drain()

    async with serving(refuses) as server, lane(server) as one:
        assert await fetch(one, FIRST, SECOND) == body_of(b"1")
        with pytest.raises(TransferError, match="404"):
            await fetch(one, SECOND)


async def test_what_comes_for_one_object_is_never_taken_for_another() -> None:
    async def behave(asking: Asking) -> None:
        await asking.drip(await asking.begin(body_of(b"1")), 2)
        asking.writer.write(ok(body_of(b"2")))
        await asking.writer.drain()

    async with serving(behave, answers) as server, lane(server) as one:
        assert await fetch(one, FIRST, SECOND) == body_of(b"1")
        assert await fetch(one, THIRD) == body_of(b"3")

    assert len(server.dialer.dialed) == 2
