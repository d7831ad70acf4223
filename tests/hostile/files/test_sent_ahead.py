"""Objects that are sent while the answer to one before is on its way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import pytest

from xmpp_onion.chat import Place, Slot
from xmpp_onion.errors import FileChangedError, TransferError
from xmpp_onion.files.lane import Lane
from xmpp_onion.files.parcel import Parcel
from xmpp_onion.files.way import Pace
from xmpp_onion.testing.hostile_http import PLACE, Server, announced, listening, ok

PACE = Pace(idle=60, answer=60)
CREATED = ok(b"", status="201 Created")


class Taking:
    """A connection at the server's end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        requests: list[bytes],
    ) -> None:
        self.reader = reader
        self._writer = writer
        self._requests = requests

    async def head(self) -> bytes:
        """Return a head; what it asks for is noted."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self._requests.append(b" ".join(head.split()[:2]))
        return head

    async def request(self) -> bytes:
        """Return a body."""
        return await self.reader.readexactly(announced(await self.head()))

    async def answer(self, data: bytes = CREATED) -> None:
        self._writer.write(data)
        await self._writer.drain()


Behaviour: TypeAlias = Callable[[Taking], Awaitable[None]]


@asynccontextmanager
async def serving(*behaviours: Behaviour) -> AsyncIterator[Server]:
    """Behave on each connection as told; on the last for ever."""
    left = list(behaviours)

    async def handle(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        behave = left.pop(0) if len(left) > 1 else left[0]
        await behave(Taking(reader, writer, server.requests))

    async with listening(handle) as server, asyncio.timeout(60):
        yield server


class Sender:
    """Sends objects over one lane, and notes which are at the server."""

    def __init__(self, lane: Lane, *, keeps: bool = True) -> None:
        self._lane = lane
        self._keeps = keeps
        self.done = list[str]()
        self.noted = asyncio.Event()

    async def send(self, name: str, data: bytes) -> None:
        await self._lane.send(self.parcel(name, data))

    async def send_two(self) -> None:
        await self.send("1", FIRST)
        await self.send("2", SECOND)

    def parcel(self, name: str, data: bytes) -> Parcel:
        def at(door: str) -> Place:
            return replace(PLACE, target=f"/{door}/{name}")

        async def ask(_size: int) -> Slot:
            resume = at("resume") if self._keeps else None
            return Slot(at("put"), at("get"), (("Authorization", "Bearer x"),), resume)

        async def done(place: Place) -> None:
            self.done.append(place.target)
            self.noted.set()

        return Parcel(
            ask=ask,
            size=len(data),
            pieces=lambda: [data],
            told=lambda _sent: None,
            done=done,
            again=lambda: [data],
        )


def lane(server: Server, patience: float = 60.0) -> Lane:
    return Lane(server.dialer, "alice@x.onion", pace=PACE, patience=patience)


FIRST, SECOND, THIRD = (bytes([n]) * 100_000 for n in (1, 2, 3))


async def take_two(taking: Taking) -> None:
    """Take two objects and answer neither."""
    await taking.request()
    await taking.request()


async def test_an_object_goes_before_the_one_before_is_answered() -> None:
    async def behave(taking: Taking) -> None:
        assert [await taking.request(), await taking.request()] == [FIRST, SECOND]
        await taking.answer(CREATED + CREATED)
        await taking.reader.read()

    async with serving(behave) as server, lane(server) as one:
        sender = Sender(one)
        await sender.send("1", FIRST)
        assert sender.done == []
        await sender.send("2", SECOND)
        await one.settle()

    assert sender.done == ["/get/1", "/get/2"]
    assert server.requests == [b"PUT /resume/1", b"PUT /resume/2"]
    assert len(server.dialer.dialed) == 1


async def test_no_more_than_one_is_out_and_not_answered() -> None:
    async def behave(taking: Taking) -> None:
        await taking.request()
        for _ in range(5):
            await taking.request()
            await taking.answer()

    async with serving(behave) as server, lane(server) as one:
        sender = Sender(one)
        for number in range(6):
            await sender.send(str(number), FIRST)
            assert len(sender.done) == number


async def test_where_nothing_is_kept_each_is_answered_before_the_next_goes() -> None:
    async def behave(taking: Taking) -> None:
        for _ in range(3):
            await taking.request()
            await taking.answer()

    async with serving(behave) as server, lane(server) as one:
        sender = Sender(one, keeps=False)
        for number in range(3):
            await sender.send(str(number), FIRST)
            assert len(sender.done) == number + 1

    assert server.requests == [b"PUT /put/0", b"PUT /put/1", b"PUT /put/2"]


async def test_an_answer_is_taken_while_the_next_object_goes() -> None:
    large = bytes(32 * 1024 * 1024)  # more than the kernel holds

    async def behave(taking: Taking) -> None:
        await taking.request()
        await taking.answer()
        size = announced(await taking.head())
        await taking.reader.readexactly(size // 4)
        await sender.noted.wait()
        await taking.reader.readexactly(size - size // 4)
        await taking.answer()

    async with serving(behave) as server, lane(server) as one:
        sender = Sender(one)
        await sender.send("1", FIRST)
        await sender.send("2", large)
        await one.settle()

    assert sender.done == ["/get/1", "/get/2"]


async def test_of_two_that_were_out_each_goes_on_where_the_server_has_it() -> None:
    async def goes_on(taking: Taking) -> None:
        for kept in (b"all", b"70000"):
            assert await taking.request() == b""
            await taking.answer(ok(kept))
        assert await taking.request() == SECOND[70_000:]
        await taking.answer()

    async with serving(take_two, goes_on) as server, lane(server) as one:
        sender = Sender(one)
        await sender.send_two()
        await one.settle()

    assert sender.done == ["/get/1", "/get/2"]
    assert server.requests[2:] == [
        b"GET /resume/1",
        b"GET /resume/2",
        b"PUT /resume/2",
    ]
    first, second = (isolation for _, _, isolation in server.dialer.dialed)
    assert first.credentials() != second.credentials()


async def test_a_rest_goes_before_the_next_is_asked_for() -> None:
    async def goes_on(taking: Taking) -> None:
        for kept, rest in ((b"100", FIRST[100:]), (b"0", SECOND)):
            await taking.request()
            await taking.answer(ok(kept))
            if kept != b"0":
                assert await taking.request() == rest
                await taking.answer()

    async def anew(taking: Taking) -> None:
        assert await taking.request() == SECOND
        await taking.answer()

    async with serving(take_two, goes_on, anew) as server, lane(server) as one:
        sender = Sender(one)
        await sender.send_two()
        await one.settle()

    assert sender.done == ["/get/1", "/get/2"]


async def test_what_went_anew_is_answered_before_the_next_is_asked_for() -> None:
    async def knows_nothing(taking: Taking) -> None:
        await taking.request()
        await taking.answer(ok(b"0"))

    async def goes_on(taking: Taking) -> None:
        assert await taking.request() == FIRST
        await taking.answer()
        assert await taking.request() == b""
        await taking.answer(ok(b"all"))

    async with (
        serving(take_two, knows_nothing, goes_on) as server,
        lane(server) as one,
    ):
        sender = Sender(one)
        await sender.send_two()
        await one.settle()

    assert sender.done == ["/get/1", "/get/2"]
    assert server.requests[2:] == [
        b"GET /resume/1",
        b"PUT /resume/1",
        b"GET /resume/2",
    ]


async def test_what_a_server_leaves_unanswered_is_not_taken_for_stored() -> None:
    async def behave(taking: Taking) -> None:
        await take_two(taking)
        await taking.answer()

    async with serving(behave) as server, lane(server, patience=0.0) as one:
        sender = Sender(one)
        await sender.send_two()
        with pytest.raises(TransferError):
            await one.settle()

    assert sender.done == ["/get/1"]


@pytest.mark.parametrize("status", ["403 No", "413 Large", "409 There"])
async def test_who_refuses_one_is_sent_nothing_behind_the_next(status: str) -> None:
    async def behave(taking: Taking) -> None:
        await take_two(taking)
        await taking.answer(ok(b"", status=status))

    async with serving(behave) as server, lane(server) as one:
        sender = Sender(one)
        await sender.send("1", FIRST)
        with pytest.raises(TransferError, match=status[:3]):
            await sender.send("2", SECOND)

    assert sender.done == []
    assert len(server.requests) == 2


async def test_who_closes_after_an_answer_gets_the_rest_over_another_circuit() -> None:
    async def closes(taking: Taking) -> None:
        await take_two(taking)
        await taking.answer(ok(b"", "Connection: close", status="201 Created"))

    async def goes_on(taking: Taking) -> None:
        await taking.request()
        await taking.answer(ok(b"all"))
        assert await taking.request() == THIRD
        await taking.answer()

    async with serving(closes, goes_on) as server, lane(server) as one:
        sender = Sender(one)
        for name, data in (("1", FIRST), ("2", SECOND), ("3", THIRD)):
            await sender.send(name, data)
        await one.settle()

    assert sender.done == ["/get/1", "/get/2", "/get/3"]
    assert server.requests[2:] == [b"GET /resume/2", b"PUT /resume/3"]


async def test_a_file_that_changed_ends_all_of_it() -> None:
    def changed() -> list[bytes]:
        raise FileChangedError("it changed")

    async with serving(take_two) as server, lane(server) as one:
        sender = Sender(one)
        await sender.send("1", FIRST)
        parcel = sender.parcel("2", SECOND)
        parcel.pieces = changed
        with pytest.raises(FileChangedError):
            await one.send(parcel)

    assert sender.done == []
