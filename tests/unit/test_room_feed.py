"""What is said in a room comes in its order: what we missed first, each once."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.backlog import Backlog, Step
from xmpp_onion.chat import Affiliation, Occupant, Role, RoomState
from xmpp_onion.room_feed import RoomFeed
from xmpp_onion.session import Incoming
from xmpp_onion.store import Cursor

if TYPE_CHECKING:
    from xmpp_onion.clerk import Clerk
    from xmpp_onion.rooms import Rooms

ONION = OnionAddress.from_public_key(bytes(32))
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
ROOM = JID(f"friends@muc.{ONION}")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def message(number: int, nick: str = "bo") -> ET.Element:
    """Return a message as the room sends it; in its archive it has that number."""
    return ET.fromstring(  # noqa: S314 - our own text
        f"<message xmlns='jabber:client' type='groupchat' from='{ROOM}/{nick}'"
        f" id='m{number}'><body>{number}</body>"
        f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='{number}'/></message>"
    )


class TheClerk:
    """Notes what is taken in, and how far the archive is by then."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.senders: list[JID] = []
        self.place: int | None = None

    async def is_known(self, incoming: Incoming) -> bool:
        return incoming.id in self.taken

    async def take_in(self, incoming: Incoming, place: Cursor | None) -> None:
        await asyncio.sleep(0)
        if incoming.id not in self.taken:
            self.taken.append(incoming.id)
            self.senders.append(incoming.sender)
        if place is not None:
            assert place.archive == ROOM
            assert int(place.last_id) > (self.place or 0), "never back"
            self.place = int(place.last_id)
        await self.meanwhile(incoming.id)

    async def meanwhile(self, name: str) -> None:
        """What happens when something was taken in; the test says it."""

    async def fetch_senders(self, steps: list[Step]) -> None:
        """Nothing is to be fetched."""

    async def take_step(self, step: Step) -> None:
        assert step.incoming is not None
        await self.take_in(step.incoming, step.cursor)


class TheArchive:
    """Yields all that it has after the clerk's place; the test says when."""

    def __init__(self, clerk: TheClerk) -> None:
        self.clerk = clerk
        self.newest = 0
        self.reads = 0
        self.may_end = asyncio.Event()
        self.began = asyncio.Event()
        self.is_taken_in = False
        self.is_sound = True
        self.due = asyncio.Event()

    async def retries(self) -> AsyncGenerator[None, None]:
        while not self.is_taken_in:
            await self.due.wait()
            self.due.clear()
            yield

    async def steps(self) -> AsyncGenerator[list[Step], None]:
        self.reads += 1
        self.began.set()
        first = (self.clerk.place or 0) + 1
        page = [_step(number) for number in range(first, self.newest + 1)]
        await self.may_end.wait()
        if self.is_sound:
            yield page
            self.is_taken_in = True


def _step(number: int) -> Step:
    cursor = Cursor(str(number), NOW, ROOM)
    return Step(cursor, Incoming(f"m{number}", BOB, NOW, (), f"k{number}", room=ROOM))


class TheRooms:
    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.now: RoomState | None = None

    def state(self, room: JID) -> RoomState | None:
        return self.now if room == ROOM else None

    async def settle(self, timeout: float) -> None:
        """They are."""

    async def until_kept(self, room: JID) -> None:
        """It is."""

    def all(self) -> tuple[RoomState, ...]:
        return () if self.now is None else (self.now,)

    def put(self, *, joined: bool = True, private: bool = True) -> None:
        bob = Occupant("bo", BOB, Affiliation.MEMBER, Role.PARTICIPANT)
        self.now = RoomState(
            jid=ROOM,
            nick="al",
            is_joined=joined,
            is_private=private,
            members={ALICE: Affiliation.OWNER, BOB: Affiliation.MEMBER},
            occupants={"bo": bob},
        )
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Desk:
    def __init__(self) -> None:
        self.rooms, self.clerk = TheRooms(), TheClerk()
        self.archive = TheArchive(self.clerk)
        self.warmed: list[frozenset[JID]] = []
        self.is_warm = asyncio.Event()
        self.feed = RoomFeed(
            cast("Rooms", self.rooms),
            cast("Clerk", self.clerk),
            lambda _: cast("Backlog", self.archive),
            self.warm,
        )

    async def warm(self, members: Collection[JID]) -> None:
        self.warmed.append(frozenset(members))
        self.is_warm.set()

    def enter(self) -> None:
        self.rooms.put()
        self.feed.look()

    async def say(self, *numbers: int) -> None:
        for number in numbers:
            assert await self.feed.take(message(number))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(desk.feed.run())
        yield desk
        work.cancel()


async def test_what_we_missed_comes_before_what_is_said_now(desk: Desk) -> None:
    desk.archive.newest = 4
    desk.enter()
    await desk.archive.began.wait()
    await desk.say(3, 4, 5)  # the archive had two of them already
    assert desk.clerk.taken == []

    desk.archive.may_end.set()
    await desk.feed.until_read(ROOM)
    await desk.say(6)

    assert desk.clerk.taken == ["m1", "m2", "m3", "m4", "m5", "m6"]
    assert desk.clerk.place == 6


async def test_what_has_no_room_in_memory_is_read_from_the_archive(desk: Desk) -> None:
    desk.enter()
    await desk.archive.began.wait()
    await desk.say(*range(1, 400))
    desk.archive.newest = 399

    desk.archive.may_end.set()
    await desk.feed.until_read(ROOM)

    assert desk.clerk.taken == [f"m{number}" for number in range(1, 400)]
    assert desk.archive.reads == 2


async def test_nothing_is_jumped_over_that_was_dropped_for_want_of_room(
    desk: Desk,
) -> None:
    async def meanwhile(name: str) -> None:
        if name == "m1":  # there is room again, behind what was dropped
            desk.archive.newest = 400
            await desk.say(400)

    desk.clerk.meanwhile = meanwhile  # type: ignore[method-assign] # the test says it
    desk.enter()
    await desk.archive.began.wait()
    await desk.say(*range(1, 400))

    desk.archive.may_end.set()
    await desk.feed.until_read(ROOM)

    assert desk.clerk.taken == [f"m{number}" for number in range(1, 401)]


async def test_a_room_that_we_come_into_again_is_read_again(desk: Desk) -> None:
    desk.archive.may_end.set()
    desk.enter()
    await desk.feed.until_read(ROOM)
    await desk.say(1)
    desk.rooms.put(joined=False)
    desk.feed.look()
    await desk.say(2)  # nobody says anything in a room that we are not in
    assert desk.clerk.taken == ["m1"]

    desk.archive.newest = 3
    desk.enter()
    await desk.feed.until_read(ROOM)

    assert desk.clerk.taken == ["m1", "m2", "m3"]


async def test_who_behind_no_known_nick_speaks_is_nobody(desk: Desk) -> None:
    desk.archive.may_end.set()
    desk.enter()
    await desk.feed.until_read(ROOM)

    await desk.say(1)
    await desk.feed.take(message(2, nick="ghost"))

    assert desk.clerk.senders == [BOB, JID(f"{ROOM}/ghost")]


async def test_what_is_not_said_in_a_room_is_left_to_others(desk: Desk) -> None:
    chat = message(1)
    chat.set("type", "chat")

    assert not await desk.feed.take(chat)


async def test_keys_of_members_are_fetched_when_it_is_known_who_they_are(
    desk: Desk,
) -> None:
    desk.archive.may_end.set()
    desk.rooms.put(private=False)
    desk.feed.look()
    await desk.feed.until_read(ROOM)
    assert desk.warmed == []

    desk.rooms.put()
    await desk.is_warm.wait()

    assert desk.warmed == [{ALICE, BOB}]


async def test_who_waits_for_all_rooms_waits_for_their_archives_and_not_for_ever(
    desk: Desk,
) -> None:
    desk.enter()
    await desk.feed.settle(0.01)
    assert not desk.archive.is_taken_in

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(desk.feed.settle(60))
        await desk.archive.began.wait()
        assert not waiting.done()
        desk.archive.may_end.set()

    assert desk.archive.is_taken_in


async def test_an_archive_that_cannot_be_read_is_asked_again_until_it_can_be(
    desk: Desk,
) -> None:
    desk.archive.newest, desk.archive.is_sound = 3, False
    desk.archive.may_end.set()
    desk.enter()
    await desk.feed.until_read(ROOM)
    await desk.say(4)  # nobody waits for what cannot be had
    assert desk.clerk.taken == ["m4"]
    assert desk.clerk.place is None

    desk.archive.newest, desk.archive.is_sound = 4, True
    taken = asyncio.Event()

    async def meanwhile(name: str) -> None:
        if name == "m4":
            taken.set()

    desk.clerk.meanwhile = meanwhile  # type: ignore[method-assign] # the test says it
    desk.archive.due.set()
    async with asyncio.timeout(60):
        await taken.wait()

    assert desk.clerk.taken == ["m4", "m1", "m2", "m3"]
    assert desk.archive.reads == 2
