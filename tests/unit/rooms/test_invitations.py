"""Invitations: a box with a bottom, in which contacts come first."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import RoomChange, RoomEvent, read_event
from xmpp_onion.rooms import Invitations
from xmpp_onion.session import Invitation
from xmpp_onion.store import INVITATION_LIMIT, Database, Inbox

ONION = OnionAddress.from_public_key(hashlib.sha256(b"a server").digest())
ALICE, OWN, EVE = (JID(f"{name}@{ONION}") for name in ("alice", "own", "stranger"))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "store.db") as opened:
        yield opened


async def _is_contact(jid: str) -> bool:
    return not jid.startswith("stranger")


def invitation(number: int, inviter: JID = ALICE) -> Invitation:
    return Invitation(JID(f"room{number}@muc.{ONION}"), inviter, is_direct=False)


@pytest.fixture
def box(database: Database) -> Invitations:
    return Invitations(database, _is_contact, own=OWN, news=asyncio.Event())


async def told(database: Database) -> list[RoomEvent]:
    rows = await Inbox(database).pending(limit=1000)
    events = [read_event(row.event_json) for row in rows]
    return [event for event in events if isinstance(event, RoomEvent)]


async def test_a_strangers_invitation_is_told_as_one_and_stands_behind_contacts(
    database: Database, box: Invitations
) -> None:
    await box.take(invitation(1, EVE))
    await box.take(invitation(2))

    assert [each.who for each in await box.all()] == [ALICE, EVE]
    strange, known = await told(database)
    assert (strange.who, strange.change) == (EVE, RoomChange.INVITED)
    assert "no contact" in strange.reason
    assert known.reason == ""


async def test_one_that_was_answered_is_not_told_again_by_archive_or_offline_store(
    database: Database, box: Invitations
) -> None:
    at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    kept = replace(invitation(1), id="a", at=at)
    await box.take(kept)
    (waiting,) = await box.all()
    await box.refuse(kept.room)
    await box.take(replace(kept, at=None))
    none = await box.all()
    await box.take(replace(kept, id="b"))

    assert waiting.at == at
    assert none == ()
    assert [each.sender for each in await box.all()] == [kept.room]
    assert len(await told(database)) == 2


async def test_strangers_fill_a_small_box_and_what_is_beyond_is_a_number(
    database: Database, box: Invitations
) -> None:
    for number in range(500):
        await box.take(invitation(number, JID(f"stranger{number}@{ONION}")))
    written = await database.generation()
    for number in range(500):
        await box.take(invitation(1000 + number, JID(f"stranger{number}@{ONION}")))

    waiting = await box.all()
    assert len(waiting) == len(await told(database)) == 20
    assert await box.more() == 980
    assert await database.generation() == written  # a flood writes nothing
    assert await box.tell_rest()
    assert not await box.tell_rest()
    assert await box.more() == 980
    many = (await told(database))[-1]
    assert (many.sender, many.who, many.count) == (OWN, None, 980)


async def test_one_stranger_has_three_places(box: Invitations) -> None:
    for number in range(10):
        await box.take(invitation(number, EVE))

    assert len(await box.all()) == 3
    assert await box.more() == 7


async def test_strangers_take_no_room_from_contacts(box: Invitations) -> None:
    for number in range(100):
        await box.take(invitation(number, JID(f"stranger{number}@{ONION}")))
    for number in range(INVITATION_LIMIT):
        await box.take(invitation(1000 + number, JID(f"c{number}@{ONION}")))

    kept = [each.who for each in await box.all() if not each.reason]
    assert len(kept) == INVITATION_LIMIT


async def test_a_stranger_does_not_stand_before_a_contact(
    database: Database, box: Invitations
) -> None:
    for inviter in (EVE, ALICE, EVE):
        await box.take(invitation(1, inviter))

    assert [each.who for each in await box.all()] == [ALICE]
    assert [each.who for each in await told(database)] == [EVE, ALICE]


async def test_an_invitation_is_told_once(database: Database, box: Invitations) -> None:
    for inviter in ("alice", "bob", "alice"):
        await box.take(invitation(1, JID(f"{inviter}@{ONION}")))

    (waiting,) = await box.all()
    assert waiting.who == ALICE
    assert len(await told(database)) == 1


async def test_nobody_fills_the_box_alone_and_it_has_a_bottom(
    database: Database, box: Invitations
) -> None:
    for number in range(INVITATION_LIMIT):
        await box.take(invitation(number))
    alone = len(await box.all())
    for number in range(INVITATION_LIMIT * 2):
        await box.take(invitation(1000 + number, JID(f"c{number}@{ONION}")))

    assert alone < INVITATION_LIMIT
    assert len(await box.all()) == INVITATION_LIMIT
    assert len(await told(database)) == INVITATION_LIMIT


async def test_what_is_refused_makes_room(box: Invitations) -> None:
    await box.take(invitation(1))

    assert await box.refuse(invitation(1).room)
    assert await box.all() == ()
    assert not await box.refuse(invitation(1).room)


async def test_who_refuses_all_begins_anew(
    database: Database, box: Invitations
) -> None:
    for number in range(30):
        await box.take(invitation(number, JID(f"stranger{number}@{ONION}")))
    await box.tell_rest()
    gone = await box.refuse_all()
    await box.take(invitation(1))

    assert len(gone) == 20
    assert await box.more() == 0
    assert len(await box.all()) == 1
    assert len(await told(database)) == 22
