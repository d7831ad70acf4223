"""What is said about an earlier message, as the inbox and a script get it."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from types import NoneType

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Content,
    Correction,
    Message,
    OwnMessage,
    Reaction,
    Retraction,
    Said,
    Typing,
    TypingState,
    event_of,
    line,
    read_event,
    write_event,
)
from xmpp_onion.e2ee import TrustLevel, accepts

ONION = OnionAddress.from_public_key(b"\x05" * 32)
ALICE, BOB = JID(f"alice@{ONION}"), JID(f"bob@{ONION}")


def said(kind: type, **content: object) -> Said:
    made = kind(
        id="m2",
        sender=ALICE,
        to=BOB,
        namespace="urn:xmpp:omemo:2",
        device=7,
        fingerprint="ab" * 32,
        trust="verified",
        at=datetime(2026, 11, 25, 12, tzinfo=UTC),
        **content,
    )
    assert isinstance(made, Said)
    return made


CONTENTS = [
    said(OwnMessage, text="canary", reply_to="m1"),
    said(Correction, target="m1", text="canary"),
    said(Reaction, target="m1", emojis=("\N{THUMBS UP SIGN}", "canary")),
    said(Reaction, target="m1", emojis=()),
    said(Retraction, target="m1"),
    said(Typing, state=TypingState.COMPOSING),
]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda one: type(one).__name__)
def test_a_content_survives_the_inbox(content: Said) -> None:
    assert read_event(write_event(content)) == content  # type: ignore[arg-type] # each is an Event


@pytest.mark.parametrize("content", CONTENTS, ids=lambda one: type(one).__name__)
def test_no_content_is_in_the_repr(content: Said) -> None:
    assert "canary" not in repr(content)


@pytest.mark.parametrize(
    ("content", "event", "fields"),
    [
        (CONTENTS[0], "own-message", {"body": "canary", "reply_to": "m1"}),
        (CONTENTS[1], "correction", {"body": "canary", "target": "m1"}),
        (CONTENTS[3], "reaction", {"emojis": [], "target": "m1"}),
        (CONTENTS[4], "retraction", {"target": "m1"}),
        (CONTENTS[5], "typing", {"state": "composing"}),
    ],
)
def test_a_line_has_the_content_and_where_it_comes_from(
    content: Said, event: str, fields: dict[str, object]
) -> None:
    shown = line(content)  # type: ignore[arg-type] # each is an Event

    assert (shown["event"], shown["from"], shown["trust"]) == (event, ALICE, "verified")
    assert fields.items() <= shown.items()


SOURCE = Said(
    id="m2",
    sender=ALICE,
    to=BOB,
    namespace="urn:xmpp:omemo:2",
    device=7,
    fingerprint="ab" * 32,
    trust="verified",
    at=datetime(2026, 11, 25, 12, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (Content(text="hi"), Message),
        (Content(text=""), Message),
        (Content(text="hi", typing=TypingState.ACTIVE, asks=True), Message),
        (Content(text="hi", corrects="m1"), Correction),
        (Content(text="fallback", retracts="m1"), Retraction),
        (Content(text="fallback", reacts_to="m1", emojis=("+",)), Reaction),
        (Content(typing=TypingState.PAUSED), Typing),
        (Content(corrects="m1"), type(None)),
        (Content(received="m1"), type(None)),
        (Content(), type(None)),
    ],
)
def test_a_content_is_one_event_at_most(content: Content, kind: type) -> None:
    event = event_of(SOURCE, content, is_own=False, is_accepted=True)

    assert type(event) is kind


def test_what_we_said_elsewhere_is_no_message_to_answer() -> None:
    event = event_of(SOURCE, Content(text="hi"), is_own=True, is_accepted=True)

    assert type(event) is OwnMessage


def test_a_device_that_is_not_accepted_changes_nothing_and_its_text_is_not_lost() -> (
    None
):
    def unaccepted(content: Content) -> object:
        return event_of(SOURCE, content, is_own=False, is_accepted=False)

    assert unaccepted(Content(retracts="m1")) is None
    assert unaccepted(Content(reacts_to="m1", emojis=("+",))) is None
    assert type(unaccepted(Content(text="hi", corrects="m1"))) is Message


def test_a_reply_names_what_it_answers() -> None:
    event = event_of(
        SOURCE, Content(text="hi", reply_to="m1"), is_own=False, is_accepted=True
    )

    assert isinstance(event, Message)
    assert event.reply_to == "m1"
    assert line(event)["reply_to"] == "m1"


@pytest.mark.parametrize("room", [None, JID(f"friends@muc.{ONION}")])
def test_who_is_mentioned_is_told_and_whether_that_is_us(room: JID | None) -> None:
    source = replace(SOURCE, room=room)

    def hear(*mentions: JID, is_own: bool = False) -> object:
        content = Content(text="alice, bob!", mentions=mentions)
        return event_of(source, content, is_own=is_own, is_accepted=True, own=BOB)

    both, other, nobody = hear(ALICE, BOB), hear(ALICE), hear()
    ours = hear(ALICE, BOB, is_own=True)

    assert isinstance(both, Message)
    assert isinstance(other, Message)
    assert isinstance(nobody, Message)
    assert isinstance(ours, OwnMessage)
    assert (both.mentions, both.mentions_me) == ((ALICE, BOB), True)
    assert (other.mentions, other.mentions_me) == ((ALICE,), False)
    assert (nobody.mentions, nobody.mentions_me) == ((), False)
    assert ours.mentions == (ALICE, BOB)
    for event in (both, other, nobody, ours):
        assert read_event(write_event(event)) == event
    assert line(both)["mentions"] == [ALICE, BOB]
    assert (line(both)["mentions_me"], line(other)["mentions_me"]) == (True, False)


WHO = [
    replace(SOURCE, sender=sender, device=device, fingerprint=mark * 64, trust=trust)
    for sender, device, mark in ((ALICE, 7, "a"), (ALICE, 8, "b"), (BOB, 7, "c"))
    for trust in ("verified", "tofu", "undecided", "distrusted")
]


@pytest.mark.parametrize(
    ("content", "theirs", "ours", "unaccepted"),
    [
        (Content(text="x"), Message, OwnMessage, Message),
        (Content(text="x", corrects="m1"), Correction, Correction, Message),
        (Content(retracts="m1"), Retraction, Retraction, NoneType),
        (Content(text="x", retracts="m1"), Retraction, Retraction, NoneType),
        (Content(reacts_to="m1", emojis=("+",)), Reaction, Reaction, NoneType),
        (Content(text="x", reacts_to="m1"), Reaction, Reaction, NoneType),
        (Content(typing=TypingState.GONE), Typing, Typing, Typing),
        (Content(corrects="m1"), NoneType, NoneType, NoneType),
        (Content(received="m1", displayed="m1"), NoneType, NoneType, NoneType),
        (Content(reply_to="m1", author=ALICE), NoneType, NoneType, NoneType),
    ],
)
@pytest.mark.parametrize("who", WHO)
def test_whoever_says_it_an_event_tells_who_and_from_which_device_and_its_trust(
    content: Content, who: Said, theirs: type, ours: type, unaccepted: type
) -> None:
    def kind(*, is_own: bool, is_accepted: bool) -> type:
        event = event_of(who, content, is_own=is_own, is_accepted=is_accepted)
        for part in fields(Said) if event is not None else ():
            assert getattr(event, part.name) == getattr(who, part.name)
        return type(event)

    assert kind(is_own=False, is_accepted=True) is theirs
    assert kind(is_own=True, is_accepted=True) is ours
    assert kind(is_own=False, is_accepted=False) is unaccepted
    as_own = {Message: OwnMessage}.get(unaccepted, unaccepted)
    assert kind(is_own=True, is_accepted=False) is as_own


ROOM = JID(f"friends@muc.{ONION}")


@pytest.mark.parametrize("kind", [Correction, Retraction])
@pytest.mark.parametrize("room", [None, ROOM])
def test_only_the_author_of_a_message_changes_it_and_only_where_it_was_said(
    kind: type, room: JID | None
) -> None:
    text = {"text": "new"} if kind is Correction else {}
    change = said(kind, target="m1", room=room, **text)
    assert isinstance(change, Correction | Retraction)
    message = replace(said(Message, text="old", room=room), id="m1")

    assert change.is_for(message)
    assert not change.is_for(replace(message, id="m3"))
    assert not change.is_for(replace(message, sender=BOB))
    assert not change.is_for(replace(message, sender=JID(f"mallory@{ONION}")))
    elsewhere = ROOM if room is None else JID(f"others@muc.{ONION}")
    assert not change.is_for(replace(message, room=elsewhere))
    if room is None:
        assert not change.is_for(replace(message, to=JID(f"carol@{ONION}")))
    else:
        assert not change.is_for(replace(message, room=None))


@pytest.mark.parametrize(
    ("before", "now", "is_same_key", "may"),
    [
        ("verified", "verified", False, True),
        ("verified", "tofu", False, False),
        ("verified", "tofu", True, True),
        ("verified", "undecided", True, False),
        ("verified", "distrusted", True, False),
        ("tofu", "verified", False, True),
        ("tofu", "tofu", False, True),
        ("tofu", "undecided", False, False),
        ("tofu", "distrusted", True, False),
        ("undecided", "tofu", False, True),
        ("undecided", "undecided", True, False),
        ("distrusted", "tofu", False, True),
        ("distrusted", "distrusted", True, False),
    ],
)
@pytest.mark.parametrize("room", [None, ROOM])
def test_a_device_speaks_for_another_of_its_account_if_trusted_as_much_as_that_was(
    before: str, now: str, room: JID | None, *, is_same_key: bool, may: bool
) -> None:
    key = "ab" * 32 if is_same_key else "cd" * 32
    message = said(Message, text="old", room=room)
    message = replace(message, id="m1", trust=before, fingerprint=key)
    earlier = said(Reaction, target="m1", emojis=("+",), room=room)
    earlier = replace(earlier, trust=before, fingerprint=key)

    correction = replace(
        said(Correction, target="m1", text="new", room=room), trust=now
    )
    retraction = replace(said(Retraction, target="m1", room=room), trust=now)
    reaction = replace(said(Reaction, target="m1", emojis=(), room=room), trust=now)

    assert isinstance(correction, Correction)
    assert isinstance(retraction, Retraction)
    assert isinstance(reaction, Reaction)
    assert isinstance(earlier, Reaction)
    assert correction.is_for(message) is may
    assert retraction.is_for(message) is may
    assert reaction.replaces(earlier) is may


def test_a_reaction_takes_back_nothing_of_somebody_else_or_about_another_message() -> (
    None
):
    reaction, earlier = CONTENTS[3], CONTENTS[2]
    assert isinstance(reaction, Reaction)
    assert isinstance(earlier, Reaction)

    assert reaction.replaces(earlier)
    assert not reaction.replaces(replace(earlier, target="m0"))
    assert not reaction.replaces(replace(earlier, sender=BOB))
    assert not reaction.replaces(replace(earlier, room=ROOM))


def test_the_words_of_trust_that_count_are_those_of_devices_that_are_accepted() -> None:
    message = said(Message, text="old")
    for level in TrustLevel:
        change = replace(message, trust=level.word)
        assert change.is_by_author_of(message) is accepts(level)
