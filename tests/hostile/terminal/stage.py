"""The terminal of `chat`, where all that comes is hostile. It runs in tmux.

The screen and the talk are those of the command; what they are given is what a
client yields for a message that was decrypted.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime

from tests.hostile.terminal.strings import STRINGS, SURROUNDED
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Correction,
    Event,
    Message,
    Reaction,
    RoomChange,
    RoomEvent,
    Undecryptable,
)
from xmpp_onion.cli.chat_screen import Screen
from xmpp_onion.cli.chat_talk import Talk
from xmpp_onion.cli.output import Output

ONION = OnionAddress.from_public_key(bytes(32))
ALICE, BOB, EVE = (JID(f"{name}@{ONION}") for name in ("alice", "bob", "eve"))
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Connection:
    """What the talk asks of a client here."""

    is_away = False
    jid = ALICE


def said(kind: type, number: int, sender: JID, **content: object) -> Event:
    event: Event = kind(
        id=f"m{number}", sender=sender, to=ALICE, namespace="urn:xmpp:omemo:2",
        device=7, fingerprint="ab" * 32, trust="tofu", at=AT, **content,
    )  # fmt: skip
    return event


def events() -> Iterator[Event]:
    """Yield what comes; each begins one line of the screen."""
    for number, text in enumerate(STRINGS):
        yield said(Message, number, BOB, text=text)
    for number, text in enumerate(SURROUNDED):
        yield said(Message, 10_000 + number, EVE, text=text)
        yield said(Correction, 20_000 + number, BOB, target="m0", text=text)
        yield said(Reaction, 30_000 + number, EVE, target="m0", emojis=(text,))
        yield RoomEvent(
            sender=EVE, change=RoomChange.JOINED, who=BOB, nick=text, reason="", at=AT
        )
        yield Undecryptable(id="u", sender=EVE, reason=text, at=AT)


async def main() -> None:
    screen = Screen(ALICE, BOB, Output())
    screen.network = "connected"
    talk = screen.talk = Talk(Connection(), screen.show, BOB)
    async with aclosing(screen.lines()) as lines:
        async for line in lines:
            if line == "begin":
                for event in events():
                    talk.take(event)
                screen.show("THE END")
            else:
                screen.show(f"TYPED {line!a}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
