"""What is said about an earlier message, as the inbox and a script get it."""

from datetime import UTC, datetime

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Correction,
    OwnMessage,
    Reaction,
    Retraction,
    Said,
    Typing,
    TypingState,
    line,
    read_event,
    write_event,
)

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
