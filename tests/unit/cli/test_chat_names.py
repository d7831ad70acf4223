"""What people are called on a screen."""

from types import SimpleNamespace

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.cli.chat_names import Names

HERE, THERE = (OnionAddress.from_public_key(bytes([n]) * 32) for n in (0, 1))
OWN = JID(f"alice@{HERE}")
BOB, OTHER_BOB = JID(f"bob@{HERE}"), JID(f"bob@{THERE}")


def names(*members: JID) -> Names:
    room = SimpleNamespace(jid=JID(f"friends@muc.{HERE}"), members=frozenset(members))
    rooms = SimpleNamespace(all=lambda: (room,) if members else ())
    return Names(SimpleNamespace(jid=OWN, rooms=rooms))


def test_one_person_is_called_by_the_local_part() -> None:
    assert names(OWN, BOB).of(BOB) == "bob"
    assert names().of(JID(f"{BOB}/phone")) == "bob"


def test_look_alikes_of_two_servers_differ_on_the_screen() -> None:
    assert names(OWN, BOB, OTHER_BOB).of(BOB) == BOB
    assert names(OWN, BOB, OTHER_BOB).of(OTHER_BOB) == OTHER_BOB


@pytest.mark.parametrize("local", ["bob", "b0b", "b\u043eb"])
def test_whoever_comes_later_is_told_apart_from_who_was_there(local: str) -> None:
    some = names()
    assert some.of(BOB) == "bob"
    assert some.of(JID(f"{local}@{THERE}")) == f"{local}@{THERE}"
    assert some.of(BOB) == BOB


@pytest.mark.parametrize("local", ["you", "y0u", "\u0443ou", "alice", "a1ice"])
def test_nobody_is_called_as_we_are(local: str) -> None:
    assert names().of(JID(f"{local}@{THERE}")) == f"{local}@{THERE}"


def test_a_name_that_seems_to_deceive_is_not_shortened() -> None:
    assert names().of(JID(f"p\u0430ypal@{THERE}")) == f"p\u0430ypal@{THERE}"


def test_a_crowd_is_forgotten_and_the_members_of_a_room_are_not() -> None:
    some = names(OWN, BOB, OTHER_BOB)
    for number in range(2_100):
        some.of(JID(f"crowd{number}x@{THERE}"))
    assert len(some._seen) == sum(map(len, some._alike.values())) == 2_000
    assert some.of(BOB) == BOB
