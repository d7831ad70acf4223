"""What a person reads: harmless, and plain about what is not certain."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Correction,
    DeliveryFailed,
    DeliveryState,
    Event,
    Message,
    Moderated,
    OwnMessage,
    Reaction,
    Receipt,
    Retraction,
    RoomChange,
    RoomEvent,
    Typing,
    TypingState,
)
from xmpp_onion.cli import listen
from xmpp_onion.cli.told import told

ONION = OnionAddress.from_public_key(b"\x05" * 32)
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


ROOM = JID(f"friends@muc.{ONION}")


def said(kind: type, **content: object) -> Event:
    event: Event = kind(
        id="m2",
        sender=ALICE,
        to=BOB,
        namespace="urn:xmpp:omemo:2",
        device=7,
        fingerprint="ab" * 32,
        trust="tofu",
        at=AT,
        **content,
    )
    return event


def came_in(nick: str, reason: str = "") -> RoomEvent:
    return RoomEvent(
        sender=ROOM,
        change=RoomChange.JOINED,
        who=BOB,
        nick=nick,
        reason=reason,
        at=AT,
    )


def test_a_nick_stands_in_quotes_behind_the_account() -> None:
    doubt = "the nick looks like the name of alice@x"

    assert f'[{BOB} as "bob" came in]' in told(came_in("bob"))
    assert f'as "{"b" * 32}…" came in ({doubt})]' in told(came_in("b" * 999, doubt))
    forged = told(came_in('x" came in] 12:00 alice: [hi'))
    assert r'as "x\x22 came in] 12:00 alice: [hi' in forged


def test_an_invitation_of_a_stranger_says_so() -> None:
    invited = RoomEvent(
        sender=ROOM, change=RoomChange.INVITED, who=BOB, reason="a stranger", at=AT
    )
    many = RoomEvent(sender=ALICE, change=RoomChange.INVITED, count=7, at=AT)

    assert f"{BOB} invites you (a stranger); join with: " in told(invited)
    assert "7 more invitations, for which there is no room" in told(many)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (said(OwnMessage, text="hi"), f"{ALICE} (tofu) to {BOB}: hi"),
        (said(Correction, target="m1", text="ho"), "corrects m1: ho"),
        (said(Reaction, target="m1", emojis=("+", "!")), "reacts to m1: + !"),
        (said(Reaction, target="m1", emojis=()), "reacts to m1: nothing any more"),
        (said(Retraction, target="m1"), "takes back m1"),
        (said(Message, text="hi", room=ROOM), f"{ROOM}: {ALICE} (tofu): hi"),
        (said(Typing, state=TypingState.COMPOSING), "is composing"),
    ],
)
def test_each_content_is_one_line(event: Event, text: str) -> None:
    assert text in told(event)
    assert "\n" not in told(event)


@pytest.mark.parametrize("bad", ["\x1b[2J", "a\nb"])
def test_no_id_and_no_emoji_can_act_on_the_terminal(bad: str) -> None:
    for event in (
        said(Reaction, target=bad, emojis=(bad,)),
        said(Retraction, target=bad),
        Receipt(
            id=bad,
            sender=ALICE,
            state=DeliveryState.RECEIVED,
            authenticated=True,
            at=AT,
        ),
        DeliveryFailed(id=bad, sender=ALICE, reason=bad, at=AT),
    ):
        assert "\x1b" not in told(event)
        assert all(part.startswith("  | ") for part in told(event).split("\n")[1:])


@pytest.mark.parametrize(("authenticated", "doubt"), [(True, False), (False, True)])
def test_a_receipt_in_the_clear_is_said_to_be_one(
    authenticated: bool,  # noqa: FBT001 - a parameter of the test
    doubt: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    receipt = Receipt(
        id="m1",
        sender=ALICE,
        state=DeliveryState.DISPLAYED,
        authenticated=authenticated,
        at=AT,
    )

    assert ("not authenticated" in told(receipt)) is doubt


def test_until_when_a_message_may_be_kept_is_shown() -> None:
    at = datetime(2026, 11, 25, 12).astimezone()  # here, whatever zone that is
    soon, later = at + timedelta(hours=1), at + timedelta(days=2)

    def shown(until: datetime | None) -> str:
        event = said(Message, text="hi", expires_at=until)
        assert isinstance(event, Message)
        return told(replace(event, at=at))

    assert shown(None).endswith("(tofu): hi")
    assert shown(soon).endswith("(tofu, until 13:00): hi")
    assert shown(later).endswith("(tofu, until 2026-11-27 12:00): hi")


def test_a_message_that_speaks_to_us_says_so() -> None:
    assert told(said(Message, text="hi")).endswith("(tofu): hi")
    us = said(Message, text="hi", mentions=(BOB,), mentions_me=True)
    assert told(us).endswith("(tofu) mentions you: hi")


def test_what_was_taken_out_of_a_room_is_told_as_its_word() -> None:
    room = JID(f"friends@muc.{ONION}")
    event = Moderated(
        sender=room, by=ALICE, target="m1", author=BOB, reason="a\x1bb", at=AT
    )

    assert f"{room}: [{ALICE} took out m1 of {BOB}, says the room: a" in told(event)
    assert "\x1b" not in told(event)
    assert listen._concerns(event, {room})


def test_who_was_shown_something_in_a_room_is_told_as_of_that_room() -> None:
    room = JID(f"friends@muc.{ONION}")
    receipt = Receipt(
        id="m1",
        sender=ALICE,
        room=room,
        state=DeliveryState.DISPLAYED,
        authenticated=True,
        at=AT,
    )

    assert f"{room}: {ALICE}: [displayed: m1]" in told(receipt)
    assert listen._concerns(receipt, {room})
    assert not listen._concerns(receipt, {ALICE})


def test_what_we_wrote_is_about_its_recipient_alone() -> None:
    assert listen._concerns(said(OwnMessage, text="hi"), {ALICE, BOB})
    assert not listen._concerns(said(OwnMessage, text="hi"), {ALICE})
    assert listen._concerns(said(Retraction, target="m1"), {ALICE})


def test_what_is_said_in_a_room_is_about_the_room_and_not_about_who_says_it() -> None:
    assert listen._concerns(said(Message, text="hi", room=ROOM), {ROOM})
    assert not listen._concerns(said(Message, text="hi", room=ROOM), {ALICE, BOB})
