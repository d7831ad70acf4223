"""What became of a message, asked for without a connection."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import JID, Account
from xmpp_onion.chat import Delivery, DeliveryState
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.store import Database, RoomMarks

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


@pytest.fixture
def room(account: Account) -> JID:
    return JID(f"friends@muc.{account.jid.domain}")


@pytest.fixture(autouse=True)
def _sent(account: Account, room: JID, onion: str) -> None:
    async def keep() -> None:
        async with Database.open(
            account.store_path,
            key=account.store_key,
            create=not account.device,
            witness=account.state_folder,
        ) as database:
            deliveries = Deliveries(database)
            async with database.transaction():
                for name, to, state in (
                    ("arrived", JID(f"bob@{onion}"), DeliveryState.RECEIVED),
                    ("lost", JID(f"bob@{onion}"), DeliveryState.QUEUED),
                    ("said", room, DeliveryState.RECEIVED),
                    ("later", room, DeliveryState.ACKED),
                ):
                    await deliveries.begin(
                        Delivery(id=name, to=to, devices=2, skipped=(), state=state)
                    )
                await deliveries.fail("lost", None, "nobody is there")
                await RoomMarks(database).move(room, f"bob@{onion}", "said")

    asyncio.run(keep())


def test_how_far_a_message_has_come_is_told_without_a_connection(
    command: "Command", onion: str
) -> None:
    done = command("sent", "arrived", "--json")
    shown = command("sent", "arrived")
    lost = command("sent", "lost")

    (line,) = done.lines
    assert (done.code, line["event"], line["state"]) == (0, "sent", "received")
    assert shown.out == f"received: bob@{onion}, encrypted for 2 devices\n"
    assert lost.out.startswith("failed: ")
    assert lost.out.endswith(": nobody is there\n")


def test_who_was_shown_a_message_in_a_room_is_told_without_a_connection(
    command: "Command", onion: str, room: JID
) -> None:
    done = command("room", "shown", "friends", "said", "--json")
    nobody = command("room", "shown", room, "later")

    (line,) = done.lines
    assert (done.code, line["event"], line["jid"]) == (0, "shown", f"bob@{onion}")
    assert (line["room"], line["id"]) == (room, "said")
    assert (nobody.code, nobody.out) == (0, "")
    assert "Nobody" in nobody.err


@pytest.mark.parametrize(
    "words",
    [["sent", "another"], ["room", "shown", "friends", "another"],
     ["room", "shown", "friends", "arrived"], ["room", "shown", "others", "said"]],
)  # fmt: skip
def test_what_nobody_knows_of_is_said_to_be_unknown(
    command: "Command", words: list[str]
) -> None:
    done = command(*words, "--json")

    (line,) = done.lines
    assert (done.code, line["event"]) == (2, "error")
    assert "send --json" in str(line["fix"])
