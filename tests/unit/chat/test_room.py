from datetime import UTC, datetime

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Affiliation,
    RoomChange,
    RoomEvent,
    line,
    read_event,
    write_event,
)
from xmpp_onion.cli.told import told

ONION = OnionAddress.from_public_key(bytes(32))
ROOM = JID(f"friends@muc.{ONION}")
BOB = JID(f"bob@{ONION}")
AT = datetime(2026, 11, 26, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize("change", RoomChange)
def test_an_event_comes_back_from_the_inbox_as_it_was(change: RoomChange) -> None:
    event = RoomEvent(
        sender=ROOM,
        change=change,
        at=AT,
        who=BOB,
        nick="bob",
        affiliation=Affiliation.MEMBER,
        by=JID(f"alice@{ONION}"),
        is_private=False,
        reason="it is so",
        count=2,
    )

    again = read_event(write_event(event))

    assert again == event
    assert isinstance(again, RoomEvent)
    assert again.change is change
    assert again.affiliation is Affiliation.MEMBER


@pytest.mark.parametrize("change", RoomChange)
def test_an_event_about_nobody_comes_back_as_well(change: RoomChange) -> None:
    event = RoomEvent(sender=ROOM, change=change, at=AT)

    assert read_event(write_event(event)) == event


@pytest.mark.parametrize("change", RoomChange)
def test_an_event_has_a_line_for_programs_and_one_for_people(
    change: RoomChange,
) -> None:
    event = RoomEvent(sender=ROOM, change=change, at=AT, who=BOB, nick="b\x1b[2Job")

    assert line(event)["event"] == f"room-{change}"
    assert line(event)["room"] == ROOM
    assert "\x1b" not in told(event)
    assert BOB in told(event) or change in {
        RoomChange.REMOVED,
        RoomChange.CONFIGURATION,
    }


@pytest.mark.parametrize("affiliation", Affiliation)
def test_only_owners_admins_and_members_are_written_to(
    affiliation: Affiliation,
) -> None:
    is_written_to = affiliation in {"owner", "admin", "member"}

    assert affiliation.is_member == is_written_to
