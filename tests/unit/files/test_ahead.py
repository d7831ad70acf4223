"""What an upload waits for: counted in round trips, not in seconds."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Link, Place, Slot
from xmpp_onion.errors import FileTooLargeError, SessionError
from xmpp_onion.files import Journal, Lane, Source, upload_chunks
from xmpp_onion.files.ahead import Ahead
from xmpp_onion.files.parcel import Parcel
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.loopback import LoopbackDialer

ONION = OnionAddress.from_public_key(bytes(32))
CHUNK = 64 * 1024
# How many round trips were waited for until here: a task inherits it from whoever
# began it, as a question is caused by what came before.
depth: ContextVar[int] = ContextVar("depth")


def slot_for(size: int, known_at: int = 0) -> Slot:
    place = Place(ONION, 5280, f"/{size}/{known_at}")
    return Slot(place, place, ())


async def ask_server(size: int) -> Slot:
    """One round trip."""
    await asyncio.sleep(0)
    depth.set(depth.get() + 1)
    return slot_for(size, depth.get())


class CountingLane(Lane):
    """Stores nothing: a round trip for what would be stored."""

    deepest = 0
    most = 0  # that one of them carried
    carried = 0

    async def send(self, parcel: Parcel) -> None:
        slot = await parcel.ask(parcel.size)
        known_at = int(slot.put.target.rpartition("/")[2])
        for piece in parcel.pieces():
            parcel.told(len(piece))
        await asyncio.sleep(0)
        depth.set(max(depth.get(), known_at) + 1)
        CountingLane.deepest = max(CountingLane.deepest, depth.get())
        self.carried += 1
        CountingLane.most = max(CountingLane.most, self.carried)
        await parcel.done(slot.get)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Database.open(tmp_path / "store.sqlite3") as database:
        yield Journal(database, Keys(database))


@pytest.mark.parametrize(("circuits", "chunks"), [(1, 9), (3, 9), (3, 2)])
async def test_a_chunk_costs_one_round_trip_and_its_slot_none(
    journal: Journal, tmp_path: Path, circuits: int, chunks: int
) -> None:
    source = tmp_path / "film.mkv"
    source.write_bytes(secrets.token_bytes(chunks * CHUNK - 1))
    asked: list[int] = []

    async def ask(size: int) -> Slot:
        asked.append(size)
        return await ask_server(size)

    depth.set(0)
    CountingLane.deepest = CountingLane.most = 0
    made = await upload_chunks(
        lambda: CountingLane(LoopbackDialer(0), "alice"),
        ask,
        Source(source),
        chunk_size=CHUNK,
        journal=journal,
        circuits=circuits,
    )

    assert Link.parse(made.url).is_index
    first_slot = 1
    assert CountingLane.deepest == first_slot + CountingLane.most
    assert CountingLane.most < chunks / circuits + circuits  # all of them helped
    assert len(asked) == chunks + 1  # one for each, and the index


async def test_a_slot_that_was_not_given_is_asked_for_when_it_is_needed() -> None:
    asked: list[int] = []

    async def ask(size: int) -> Slot:
        asked.append(size)
        if len(asked) == 2:
            raise SessionError("down", why="the session is down")
        if len(asked) == 3:
            raise FileTooLargeError("the server does not take the file")
        return slot_for(size)

    async with Ahead(ask, [7]) as ahead:
        await ahead.ask(8)
        with pytest.raises(FileTooLargeError):
            await ahead.ask(7)
        assert await ahead.ask(7) == slot_for(7)

    assert asked == [8, 7, 7, 7]


async def test_a_slot_is_good_for_its_size_alone_and_used_once() -> None:
    count = 0

    async def ask(size: int) -> Slot:
        nonlocal count
        count += 1
        return slot_for(size, count)

    async with Ahead(ask, [7, 7]) as ahead:
        slots = [await ahead.ask(size) for size in (8, 8, 7, 7, 7)]

    assert len(set(slots)) == 5
    assert [slot.put.target.split("/")[1] for slot in slots] == list("88777")
    assert count == 5


async def test_an_old_slot_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmpp_onion.files.ahead._FRESH", 0.0)
    count = 0

    async def ask(size: int) -> Slot:
        nonlocal count
        count += 1
        return slot_for(size, count)

    async with Ahead(ask, [7]) as ahead:
        await ahead.ask(7)
        await asyncio.sleep(0)
        slot = await ahead.ask(7)

    assert slot == slot_for(7, 3)


async def test_nobody_waits_for_slots_that_are_not_needed_any_more() -> None:
    async def ask(size: int) -> Slot:
        if size == 7:
            await asyncio.Event().wait()
        return slot_for(size)

    async def fail() -> None:
        async with Ahead(ask, [7]) as ahead:
            await ahead.ask(8)
            await asyncio.sleep(0)
            raise ZeroDivisionError

    async with asyncio.timeout(60):
        with pytest.raises(ZeroDivisionError):
            await fail()
