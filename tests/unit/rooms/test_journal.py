"""What is told of rooms: coalesced, bounded, and once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Affiliation, Role, RoomChange, RoomEvent, read_event
from xmpp_onion.rooms import RoomJournal
from xmpp_onion.session import (
    AffiliationList,
    Configuration,
    Occupancy,
    RoomPresence,
    RoomSignal,
)
from xmpp_onion.store import Database, Inbox

ONION = OnionAddress.from_public_key(hashlib.sha256(b"a server").digest())
ROOM = JID(f"friends@muc.{ONION}")
OWN, BOB, EVE = (JID(f"{name}@{ONION}") for name in ("own", "bob", "eve"))
PRIVATE = Configuration(is_members_only=True, is_non_anonymous=True)
MEMBERS: AffiliationList = ((OWN, Affiliation.OWNER), (BOB, Affiliation.MEMBER))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def journal(database: Database) -> RoomJournal:
    return RoomJournal(database, news=asyncio.Event(), calm=0)


@pytest.fixture
async def room(journal: RoomJournal) -> Occupancy:
    """A room that we are in, and that is kept."""
    made = Occupancy(ROOM, "own", own=OWN)
    read(made, MEMBERS)
    made.take_presence(presence(OWN, "own", codes={110}))
    await journal.keep(made, "own")
    return made


def read(
    room: Occupancy, members: AffiliationList, configuration: Configuration = PRIVATE
) -> None:
    assert room.take_reading(room.begin_reading(), configuration, members)


def presence(
    jid: JID,
    nick: str = "",
    *,
    is_there: bool = True,
    codes: set[int] = set(),  # noqa: B006 - never changed
) -> RoomPresence:
    return RoomPresence(
        ROOM,
        nick or jid.local,
        is_there=is_there,
        jid=jid,
        affiliation=dict(MEMBERS).get(jid, Affiliation.NONE),
        role=Role.PARTICIPANT,
        codes=frozenset(codes),
    )


async def told(database: Database) -> list[RoomEvent]:
    rows = await Inbox(database).pending(limit=10_000)
    events = [read_event(row.event_json) for row in rows]
    return [event for event in events if isinstance(event, RoomEvent)]


async def test_who_comes_and_goes_at_once_was_nobody(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    for is_there in (True, False):
        journal.note(room, room.take_presence(presence(EVE, is_there=is_there)))
    await journal.write_down()

    assert await told(database) == []


async def test_a_nick_that_looks_like_a_members_name_is_told_as_doubtful(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    for jid, nick in ((EVE, "b\u043eb"), (BOB, "bob")):
        journal.note(room, room.take_presence(presence(jid, nick)))
    await journal.write_down()

    eve, bob = await told(database)
    assert (eve.who, eve.reason) == (EVE, f"the nick looks like the name of {BOB}")
    assert (bob.who, bob.reason) == (BOB, f"the nick looks like that of {EVE}")


async def test_a_flood_of_comings_and_goings_is_a_number(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    for index in range(500):
        jid = JID(f"m{index}@{ONION}")
        journal.note(room, room.take_presence(presence(jid)))
    await journal.write_down()
    events = await told(database)

    named = [event for event in events if event.count == 1]
    assert len(events) < 30
    assert sum(event.count for event in events) == 500
    assert {event.change for event in named} == {RoomChange.JOINED}


async def test_a_flood_that_goes_on_costs_an_event_a_while(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    for index in range(200):
        jid = JID(f"m{index}@{ONION}")
        journal.note(room, room.take_presence(presence(jid)))
        await journal.write_down()

    named = [event for event in await told(database) if event.count == 1 and event.who]
    assert len(named) <= 22


async def test_a_member_is_told_once_whatever_tells_of_him(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    added = RoomSignal(ROOM, affiliations=((EVE, Affiliation.MEMBER),))
    for _ in range(2):
        journal.note(room, room.take_signal(added))
        await journal.write_down()
    read(room, (*MEMBERS, (EVE, Affiliation.MEMBER)))
    journal.note(room)
    await journal.write_down()

    (event,) = await told(database)
    assert (event.who, event.affiliation) == (EVE, Affiliation.MEMBER)


async def test_members_by_the_hundred_are_a_number(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    names = (JID(f"m{index}@{ONION}") for index in range(300))
    read(room, (*MEMBERS, *((jid, Affiliation.MEMBER) for jid in names)))
    journal.note(room)
    await journal.write_down()

    (event,) = await told(database)
    assert event.count == 300


async def test_what_changed_while_nobody_looked_is_told_after_a_restart(
    database: Database,
    room: Occupancy,  # noqa: ARG001 - it is kept
) -> None:
    later = RoomJournal(database, news=asyncio.Event(), calm=0)
    again = Occupancy(ROOM, "own", own=OWN)
    read(again, ((OWN, Affiliation.OWNER),), Configuration(is_non_anonymous=True))
    later.note(again)
    await later.write_down()

    opened, gone = await told(database)
    assert (opened.change, opened.is_private) == (RoomChange.CONFIGURATION, False)
    assert (gone.who, gone.affiliation) == (BOB, Affiliation.NONE)


async def test_a_configuration_that_is_being_read_is_no_news(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    journal.note(room, room.take_signal(RoomSignal(ROOM, frozenset({104}))))
    await journal.write_down()
    read(room, MEMBERS)
    journal.note(room)
    await journal.write_down()

    assert await told(database) == []


async def test_a_room_that_we_left_tells_nothing_any_more(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    journal.note(room, room.take_presence(presence(EVE)))
    await journal.forget(ROOM)
    await journal.write_down()

    assert await told(database) == []
    assert await journal.table.all() == []


async def test_a_transaction_that_is_undone_is_tried_again(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    journal.note(room, room.take_presence(presence(EVE)))
    with pytest.raises(RuntimeError):
        async with database.transaction():
            await journal.write_down()  # transactions do not nest
    await journal.write_down()

    assert [event.who for event in await told(database)] == [EVE]


async def after_restart(database: Database) -> tuple[bool, set[JID]]:
    """Return whether the room is strict, and whom another process may send to."""
    later = RoomJournal(database, news=asyncio.Event(), calm=0)
    (row,) = await later.table.all()
    return row.strict, set((await later.accepted(row))[1])


async def test_a_new_member_of_a_strict_room_is_held_after_a_restart_too(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    room.accept(room.members)
    room.be_strict(strict=True)
    await journal.keep_accepted(room)
    added = RoomSignal(ROOM, affiliations=((EVE, Affiliation.MEMBER),))
    journal.note(room, room.take_signal(added))
    await journal.write_down()

    assert room.state().unaccepted == {EVE}
    assert await after_restart(database) == (True, {OWN, BOB})
    room.accept([EVE])
    await journal.keep_accepted(room)
    assert await after_restart(database) == (True, {OWN, BOB, EVE})


async def test_whom_a_strict_room_learns_of_in_silence_is_held_too(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    room.be_strict(strict=True)
    await journal.keep_accepted(room)
    read(room, (*MEMBERS, (EVE, Affiliation.ADMIN)))
    journal.note(room)  # no word of him, only the list that was read
    await journal.write_down()

    assert [event.who for event in await told(database)] == [EVE]
    assert EVE not in (await after_restart(database))[1]
    assert EVE in room.state().unaccepted


async def test_whom_we_let_in_is_not_held(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    room.be_strict(strict=True)
    await journal.keep_accepted(room)
    room.accept([EVE])
    read(room, (*MEMBERS, (EVE, Affiliation.MEMBER)))
    journal.note(room)
    await journal.write_down()

    assert EVE in (await after_restart(database))[1]


async def test_who_comes_back_to_a_strict_room_is_held_anew(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    room.be_strict(strict=True)
    await journal.keep_accepted(room)
    for affiliation in (Affiliation.NONE, Affiliation.MEMBER):
        changed = RoomSignal(ROOM, affiliations=((BOB, affiliation),))
        journal.note(room, room.take_signal(changed))
        await journal.write_down()

    assert [event.affiliation for event in await told(database)] == ["none", "member"]
    assert room.state().unaccepted == {BOB}
    assert await after_restart(database) == (True, {OWN})


async def test_a_room_that_is_not_strict_holds_nobody(
    database: Database, journal: RoomJournal, room: Occupancy
) -> None:
    read(room, (*MEMBERS, (EVE, Affiliation.MEMBER)))
    journal.note(room)
    await journal.write_down()

    assert room.state().unaccepted == frozenset()
    assert await after_restart(database) == (False, {OWN, BOB, EVE})


async def test_what_is_noted_is_written_down_by_itself(database: Database) -> None:
    news = asyncio.Event()
    journal = RoomJournal(database, news=news, calm=0)
    room = Occupancy(ROOM, "own", own=OWN)
    read(room, MEMBERS)
    await journal.keep(room, "own")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(journal.run())
        read(room, (*MEMBERS, (EVE, Affiliation.MEMBER)))
        journal.note(room)
        await news.wait()
        running.cancel()

    assert [event.who for event in await told(database)] == [EVE]
