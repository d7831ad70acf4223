from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    ContactAccepted,
    ContactRemoved,
    ContactRequest,
    Delivery,
    DeliveryState,
    Event,
    Gap,
    Message,
    MoreRequests,
    Undecryptable,
    read_event,
    write_event,
)

ONION = OnionAddress.from_public_key(b"\x05" * 32)
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")
AT = datetime(2026, 11, 23, 12, 0, 5, 250_000, tzinfo=UTC)


def message(text: str = "hi", room: JID | None = None) -> Message:
    return Message(
        id="m1",
        sender=ALICE,
        to=BOB,
        room=room,
        text=text,
        namespace="eu.siacs.conversations.axolotl",
        device=7,
        fingerprint="ab" * 32,
        trust="verified",
        at=AT,
    )


@pytest.mark.parametrize(
    "event",
    [
        message(),
        message(room=JID(f"friends@muc.{ONION}")),
        Undecryptable(id="u1", sender=ALICE, reason="no session", at=AT),
        Undecryptable(id="", sender=ALICE, reason="no session", at=AT, count=7),
        ContactRequest(sender=ALICE, at=AT),
        ContactAccepted(sender=ALICE, at=AT),
        ContactRemoved(sender=ALICE, at=AT),
        MoreRequests(sender=BOB, count=7, at=AT),
        Gap(sender=BOB, since=AT, until=AT + timedelta(days=7), at=AT),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_survives_the_inbox(event: Event) -> None:
    assert read_event(write_event(event)) == event


@given(st.text())
def test_any_text_survives_the_inbox(text: str) -> None:
    read = read_event(write_event(message(text.encode(errors="replace").decode())))

    assert isinstance(read, Message)
    assert read.text == text.encode(errors="replace").decode()


def test_the_text_is_not_in_the_repr() -> None:
    assert "canary" not in repr(message("canary"))


async def test_a_reply_goes_to_the_sender() -> None:
    answered: list[tuple[str, str]] = []

    async def answer(to: JID, text: str) -> Delivery:
        answered.append((to, text))
        return Delivery(
            id="d1", to=to, devices=1, skipped=(), state=DeliveryState.ACKED
        )

    read = read_event(write_event(message()), answer)
    assert isinstance(read, Message)
    await read.reply("got it")

    assert answered == [(ALICE, "got it")]


async def test_a_reply_in_a_room_goes_to_the_room() -> None:
    answered: list[str] = []

    async def answer(to: JID, text: str) -> Delivery:  # noqa: ARG001 - the signature
        answered.append(to)
        return Delivery(
            id="d1", to=to, devices=1, skipped=(), state=DeliveryState.ACKED
        )

    room = JID(f"friends@muc.{ONION}")
    read = read_event(write_event(message(room=room)), answer)
    assert isinstance(read, Message)
    await read.reply("got it")

    assert answered == [room]


async def test_a_message_made_by_hand_cannot_be_replied_to() -> None:
    with pytest.raises(RuntimeError, match="a client received"):
        await message().reply("x")
