from typing import TYPE_CHECKING

import pytest

from xmpp_onion.chat import Line
from xmpp_onion.cli.room import told

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
ROOM: Line = {
    "v": 1,
    "event": "room",
    "room": "friends@muc.x",
    "nick": "bob",
    "members": 3,
    "here": 2,
    "joined": True,
    "private": True,
    "strict": False,
    "unaccepted": [],
    "reason": None,
}


def test_a_room_is_told_with_what_keeps_us_from_talking() -> None:
    assert told(ROOM) == "friends@muc.x: 3 members, 2 here"
    assert "not in yet" in told(ROOM | {"joined": False})
    closed = told(ROOM | {"private": False, "reason": "it hides who is there"})
    assert "nothing can be sent: it hides who is there" in closed
    assert "accept eve@x" in told(ROOM | {"unaccepted": ["eve@x"]})


def test_a_member_is_told_by_the_account_and_a_nick_is_harmless() -> None:
    member: Line = {
        "event": "member",
        "jid": "eve@x",
        "state": "member",
        "nick": "\x1b[2Jalice",
        "accepted": False,
    }

    shown = told(member)
    assert shown == r'eve@x: member, here as "\x1b[2Jalice", not accepted yet'
    doubt = told({**member, "doubt": "the nick looks like the name of alice@x"})
    assert '"\\x1b[2Jalice" (the nick looks like the name of alice@x), not' in doubt
    assert "no member any more" in told({**member, "nick": None, "state": "none"})


@pytest.mark.parametrize("verb", ["invite", "kick", "accept"])
def test_who_is_meant_has_to_be_a_person_at_an_onion(
    command: "Command", verb: str
) -> None:
    done = command("room", verb, "friends", "bob@example.org", "--json")

    assert done.code == 2
    assert done.lines[0]["event"] == "error"


@pytest.mark.parametrize(
    "room",
    [
        "bad name@x",
        "friends@muc.example.org",
        "friends@",
        f"a@muc.{ONION}/nick",
        f"muc.{ONION}",
        "two words",
        "a/b",
        "a:b",
        "",
        "\u202esdneirf",
        "a" * 1100,
    ],
)
def test_what_can_be_no_room_is_refused_before_anything_is_asked(
    command: "Command", room: str
) -> None:
    done = command("room", "join", room, "--json")

    (line,) = done.lines
    assert (done.code, line["event"]) == (2, "error")
    assert done.err == ""  # nobody logged in
    assert line["what"]
    assert line["why"]
    assert line["fix"]


@pytest.mark.parametrize("nick", ["fox \U0001f98a", " ", "\u202exof", "a" * 1100])
def test_what_can_be_no_nick_is_refused_before_anything_is_asked(
    command: "Command", nick: str
) -> None:
    done = command("room", "create", "friends", "--nick", nick, "--json")

    (line,) = done.lines
    assert (done.code, line["event"], done.err) == (2, "error", "")
    assert "your name in a room" in str(line["what"])
    assert "--nick" in str(line["fix"])


def test_invitations_tell_of_a_stranger_and_of_how_many_more_there_are() -> None:
    invited: Line = {
        "event": "room-invited",
        "room": "trap@muc.x",
        "jid": "eve@x",
        "at": "2026-11-23T12:00:00Z",
        "reason": "who invites is no contact of yours",
    }

    assert told(invited).endswith("; who invites is no contact of yours")
    assert told({**invited, "reason": None}).endswith("Z")
    more = told({"event": "more-invitations", "count": 7})
    assert more == "and 7 more, for which there was no room"
    wait = told({"event": "invitations", "count": 2})
    assert wait == "2 invitations wait: xmpp-onion room invitations"


def test_one_invitation_is_refused_or_all_are(command: "Command") -> None:
    done = command("room", "invitations", "--refuse", "friends", "--refuse-all")

    assert done.code == 2
    assert "--refuse-all" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["subject", "friends", "a plan"],
        ["moderate", "friends", f"eve@{ONION}", "an-id", "--reason", "a link"],
    ],
    ids=lambda words: words[0],
)
def test_what_servers_would_read_is_asked_for_by_name(
    command: "Command", words: list[str]
) -> None:
    done = command("room", *words)

    assert done.code == 2
    assert "--in-clear" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["grant", "friends", "king", f"eve@{ONION}"],
        ["grant", "friends", "admin", "eve@example.org"],
        ["moderate", "friends", "eve@example.org", "an-id"],
    ],
)
def test_whom_and_what_is_checked_before_anything_is_asked(
    command: "Command", words: list[str]
) -> None:
    assert command("room", *words).code == 2
