"""What a room says was taken out counts if an owner or admin of our own list did it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Affiliation,
    Message,
    Moderated,
    Occupant,
    Role,
    RoomState,
    line,
    read_event,
)
from xmpp_onion.rooms import Moderations, Rooms
from xmpp_onion.session import Moderation, Session
from xmpp_onion.store import Database, Inbox, MemberRow, RoomNames
from xmpp_onion.store import Rooms as Table

ONION = OnionAddress.from_public_key(bytes(32))
ALICE, BOB, CAROL = (JID(f"{name}@{ONION}") for name in ("alice", "bob", "carol"))
ROOM = JID(f"friends@muc.{ONION}")
AT = datetime(2026, 11, 26, tzinfo=UTC)
MEMBERS = {
    ALICE: Affiliation.OWNER,
    BOB: Affiliation.ADMIN,
    CAROL: Affiliation.MEMBER,
}
STATE = RoomState(
    jid=ROOM,
    nick="me",
    is_joined=True,
    is_private=True,
    members=MEMBERS,
    occupants={
        "al": Occupant("al", ALICE, Affiliation.OWNER, Role.MODERATOR),
        "ca": Occupant("ca", CAROL, Affiliation.MEMBER, Role.PARTICIPANT),
        "hidden": Occupant("hidden", None, Affiliation.OWNER, Role.MODERATOR),
    },
)


class Place:
    """One room, as it is now."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now: RoomState | None = STATE
        self.moderations = Moderations(
            database,
            cast("Session", None),
            cast("Rooms", SimpleNamespace(state=lambda _room: self.now)),
            news=asyncio.Event(),
        )

    async def take(self, said: Moderation, key: str = "k") -> None:
        async with self.database.transaction():
            await self.moderations.take(ROOM, said, AT, key=key)

    async def told(self) -> list[Moderated]:
        rows = await Inbox(self.database).pending()
        events = [read_event(row.event_json) for row in rows]
        return [each for each in events if isinstance(each, Moderated)]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with Database.open(tmp_path / "store.db") as database:
        async with database.transaction():
            await RoomNames(database).add(ROOM, "s1", "m1", CAROL)
            rows = [MemberRow(jid, kind) for jid, kind in MEMBERS.items()]
            await Table(database).put_members(ROOM, rows)
        yield Place(database)


BY_ALICE = Moderation("s1", nick="al", by=ALICE, reason="be kind")


async def test_it_is_told_once_with_whose_message_it_was(place: Place) -> None:
    await place.take(BY_ALICE)
    await place.take(BY_ALICE)

    (told,) = await place.told()
    assert (told.sender, told.by, told.at) == (ROOM, ALICE, AT)
    assert (told.target, told.author, told.reason) == ("m1", CAROL, "be kind")
    assert line(told)["event"] == "moderated"
    assert line(told)["encrypted"] is False
    assert "be kind" not in repr(told)
    message = Message(
        id="m1",
        sender=CAROL,
        to=ROOM,
        room=ROOM,
        text="the bad word",
        namespace="urn:xmpp:omemo:2",
        device=7,
        fingerprint="ab" * 32,
        trust="tofu",
        at=AT,
    )
    assert told.is_for(message)
    assert not told.is_for(replace(message, sender=BOB))
    assert not told.is_for(replace(message, id="m2"))
    assert not told.is_for(replace(message, room=None))


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (Moderation("s1", nick="", by=BOB), BOB),
        (Moderation("s1", nick="al"), ALICE),
        (Moderation("s1", nick="al", by=CAROL), None),
        (Moderation("s1", nick="ca"), None),
        (Moderation("s1", nick="hidden"), None),
        (Moderation("s1", nick="gone"), None),
        (Moderation("s1", nick="", by=JID(f"mallory@{ONION}")), None),
        (Moderation("unknown", nick="al", by=ALICE), None),
    ],
)
async def test_only_owners_and_admins_by_our_own_list_take_something_out(
    place: Place, said: Moderation, who: JID | None
) -> None:
    await place.take(said)

    assert [each.by for each in await place.told()] == ([who] if who else [])


async def test_what_the_archive_has_is_held_against_the_members_that_we_knew(
    place: Place,
) -> None:
    place.now = replace(STATE, members={}, occupants={})
    await place.take(Moderation("s1", nick="ca", by=CAROL))
    assert await place.told() == []

    await place.take(BY_ALICE)
    assert [each.by for each in await place.told()] == [ALICE]


async def test_who_is_an_admin_since_now_may_and_who_is_none_any_more_may_not(
    place: Place,
) -> None:
    now = {ALICE: Affiliation.MEMBER, CAROL: Affiliation.ADMIN}
    place.now = replace(STATE, members=now)
    await place.take(BY_ALICE)
    await place.take(Moderation("s1", nick="ca", by=CAROL))

    assert [each.by for each in await place.told()] == [CAROL]


async def test_a_room_that_we_are_not_in_takes_nothing_out(place: Place) -> None:
    place.now = None
    await place.take(BY_ALICE)

    assert await place.told() == []
