"""The terminal of `chat`, where all that comes is hostile. It runs in tmux.

The screen and the talk are those of the command; what they are given is what a
client yields for a message that was decrypted.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import NoReturn

from tests.hostile.terminal.strings import STRINGS, SURROUNDED
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Correction,
    Delivery,
    DeliveryState,
    Event,
    Message,
    Reaction,
    Receipt,
    RoomChange,
    RoomEvent,
    Undecryptable,
)
from xmpp_onion.cli.chat_commands import do
from xmpp_onion.cli.chat_screen import Screen
from xmpp_onion.cli.chat_talk import open_talk

ONION = OnionAddress.from_public_key(bytes(32))
ALICE, BOB, EVE = (JID(f"{name}@{ONION}") for name in ("alice", "bob", "eve"))
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Rooms:
    """None."""

    def state(self, room: JID) -> None:
        del room

    def all(self) -> tuple[()]:
        return ()


class Notes:
    """Nothing was set."""

    async def load(self, key: str) -> None:
        del key


class Connection:
    """What the talk asks of a client here."""

    is_away = False
    said = 0
    jid = ALICE
    rooms = Rooms()
    notes = Notes()

    async def queue(self, to: JID, text: str, **_: object) -> Delivery:
        """Keep it, as the disk does."""
        del text
        self.said += 1
        return Delivery(
            id=f"own{self.said}", to=to, devices=1, skipped=(),
            state=DeliveryState.QUEUED,
        )  # fmt: skip

    async def wait(
        self, message_id: str, state: DeliveryState, timeout: None
    ) -> NoReturn:
        """Wait for ever: what becomes of it the stage says."""
        del message_id, state, timeout
        await asyncio.Event().wait()
        raise AssertionError

    async def devices(self, jid: JID) -> tuple[()]:
        """Know none."""
        del jid
        return ()

    async def events(self) -> AsyncIterator[Event]:
        """Yield nothing: what comes is handed over by the stage."""
        await asyncio.Event().wait()
        yield  # type: ignore[misc]


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
    screen = Screen(ALICE, BOB)
    screen.network = "connected"
    async with (
        open_talk(Connection(), screen.paper, BOB, screen.changed) as talk,
        aclosing(screen.lines()) as lines,
    ):
        screen.talk = talk
        async for line in lines:
            if line == "begin":
                for event in events():
                    talk.take(event)
                screen.paper.show("THE END")
            elif line.startswith("receipt "):
                _, number, state = line.split()
                talk.take(
                    Receipt(
                        id=f"own{number}", sender=BOB, state=DeliveryState(state),
                        authenticated=True, at=AT,
                    )
                )  # fmt: skip
            elif line.startswith("say "):
                await do(talk, line.removeprefix("say "))
            else:
                screen.paper.show(f"TYPED {line!a}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
