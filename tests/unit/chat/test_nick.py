"""Nicks that are made to deceive, and those that are only foreign."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Affiliation, Occupant, Role, RoomState, doubts
from xmpp_onion.chat.nick import doubt_of

ONION = OnionAddress.from_public_key(hashlib.sha256(b"a server").digest())
ALICE, MALLORY = (JID(f"{name}@{ONION}") for name in ("alice", "mallory"))


def room(members: list[JID], **nicks: JID | None) -> RoomState:
    return RoomState(
        jid=JID(f"friends@muc.{ONION}"),
        nick="me",
        is_joined=True,
        is_private=True,
        members=dict.fromkeys(members, Affiliation.MEMBER),
        occupants={
            nick: Occupant(nick, jid, Affiliation.MEMBER, Role.PARTICIPANT)
            for nick, jid in nicks.items()
        },
    )


def named(nick: str) -> dict[str, Occupant]:
    return {nick: Occupant(nick, MALLORY, Affiliation.MEMBER, Role.PARTICIPANT)}


def doubt(nick: str) -> str:
    """Return what is doubtful about Mallory, called so where Alice is a member."""
    found = doubts(room([ALICE, MALLORY], **{nick: MALLORY}))
    return found.get(nick, "")


@pytest.mark.parametrize(
    "nick",
    [
        "alice",
        "Alice",
        "ALICE",
        "a1ice",
        "aIice",
        "a|ice",
        "AL1CE",
        "alice ",
        " alice",
        "alice.",
        "-alice-",
        "(alice)",
        "\u0430lice",  # Cyrillic a
        "al\u0456ce",  # Cyrillic i
        "ali\u0441e",  # Cyrillic s
        "alic\u0435",  # Cyrillic e
        "\u0430l\u0456\u0441\u0435",
        "\u0391lice",  # Greek Alpha
        "\u03b1lice",
        "al\u03b9ce",
        "al\u0131ce",  # without its dot
        "al\u0269ce",  # iota of phonetics
        "\u0251lice",
        "a\u0142ice",  # with a stroke
        "álice",
        "alicé",
        "a\u0301lice",
        "\uff41\uff4c\uff49\uff43\uff45",  # full width
        "\U0001d41a\U0001d425\U0001d422\U0001d41c\U0001d41e",  # mathematical
        "ⓐⓛⓘⓒⓔ",
        "al\u200bice",
        "al\u200dice",
        "\u202ealice",
        "\u2066alice\u2069",
        "ali\u00adce",
        "ali\ufe0fce",
        "\U000e0061alice",
        "alice\u2063",
        "\u00a0alice",
        "alice\x00",
        "alice\x1b",
        "alice\u3164",
        "\u2800alice",
    ],
)
def test_a_nick_that_looks_like_anothers_name_is_doubted(nick: str) -> None:
    assert doubt(nick) == f"the nick looks like the name of {ALICE}"


@pytest.mark.parametrize(
    ("nick", "what"),
    [
        ("b\u043eb", "several scripts"),
        ("\u13aadam", "several scripts"),
        ("p\u0430ypal", "several scripts"),
        ("\u03a9mega", "several scripts"),
        ("do\u200dra", "nobody sees"),
        ("\u202edora", "nobody sees"),
        ("do\u2028ra", "nobody sees"),
        ("do\x1b[31mra", "nobody sees"),
        ("do\ue000ra", "nobody sees"),
        ("do\u2007ra", "nobody sees"),
        ("\u3164", "nobody sees"),
        ("\u2800", "nobody sees"),
        ("e\u0301\u0301\u0301", "marks piled"),
        ("...", "empty to the eye"),
        ("", "empty to the eye"),
        ("x" * 1023, "1023 letters"),
    ],
)
def test_a_nick_is_doubted_by_itself(nick: str, what: str) -> None:
    assert what in doubt_of(nick)
    assert what in doubt(nick)


@pytest.mark.parametrize(
    "nick",
    ["mallory", "Jörg", "Боб", "Ωμέγα", "日本太郎", "たろうTaro", "안녕", "محمد",
     "שלום", "नमस्ते", "Nguyễn Văn", "dora 2", "☃", "O'Neill", "dora_the-3rd"],
)  # fmt: skip
def test_a_nick_that_is_only_foreign_is_not_doubted(nick: str) -> None:
    assert doubt(nick) == ""


def test_two_who_look_alike_are_both_doubted_and_one_on_two_devices_is_not() -> None:
    found = doubts(room([], dora=ALICE, d0ra=MALLORY, Dora=ALICE))

    assert found == {
        "dora": f"the nick looks like that of {MALLORY}",
        "Dora": f"the nick looks like that of {MALLORY}",
        "d0ra": f"the nick looks like that of {ALICE}",
    }


def test_who_is_not_named_is_somebody_else() -> None:
    found = doubts(room([ALICE], alice=None, Alice=ALICE))

    assert found["Alice"] == "the nick looks like that of somebody else"
    assert found["alice"] == f"the nick looks like the name of {ALICE}"


@given(st.text(), st.text())
def test_any_nick_can_be_looked_at(one: str, other: str) -> None:
    state = replace(
        room([ALICE]),
        occupants={**room([], x=ALICE).occupants, **named(one), **named(other)},
    )

    assert set(doubts(state)) <= {"x", one, other}
