"""What is meant in a room goes out under the room's name and comes in under ours."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Content
from xmpp_onion.rooms import RoomNames
from xmpp_onion.store import Database

ONION = OnionAddress.from_public_key(bytes(32))
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
ROOM = JID(f"friends@muc.{ONION}")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "store.db") as database:
        yield database


@pytest.fixture
async def names(database: Database) -> RoomNames:
    names = RoomNames(database, ALICE)
    async with database.transaction():
        await names.note(ROOM, "room's", "ours", ALICE)
        await names.note(ROOM, "bob's", "of bob", BOB)
        await names.note(ROOM, "", "without a name", BOB)
        await names.note(None, "x", "of two", BOB)
    return names


async def test_what_is_meant_is_named_by_the_room_outside_and_by_its_sender_here(
    names: RoomNames,
) -> None:
    for here, outside in (
        (Content(reply_to="of bob"), Content(reply_to="bob's")),
        (Content(reacts_to="of bob"), Content(reacts_to="bob's")),
        (Content(retracts="ours"), Content(retracts="room's")),
        (Content(displayed="of bob"), Content(displayed="bob's")),
        (Content(corrects="ours"), Content(corrects="ours")),
        (Content(reacts_to="unknown"), Content(reacts_to="unknown")),
        (Content(text="hello"), Content(text="hello")),
    ):
        assert await names.outward(ROOM, here) == outside
        assert await names.inward(ROOM, outside) == here


async def test_nobody_elses_message_is_retracted_for_having_the_id_of_ours(
    names: RoomNames,
) -> None:
    out = await names.outward(ROOM, Content(retracts="of bob"))

    assert out.retracts == "of bob"


async def test_between_two_there_is_one_name(names: RoomNames) -> None:
    what = Content(reacts_to="room's")

    assert await names.inward(None, what) == what
