"""Somebody who writes to a bot in a test, and gets what it says.

The same person in each of the worlds of :mod:`xmpp_onion.testing.fake_server`: what
he does goes to the world, what the bot says to him comes as the events that a client
would yield.
"""

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from xmpp_onion.address import JID
from xmpp_onion.chat import (
    Attachment,
    Content,
    Correction,
    Event,
    Message,
    Reaction,
    Retraction,
)
from xmpp_onion.durations import read_duration
from xmpp_onion.e2ee import TrustLevel
from xmpp_onion.rooms import Room

__all__ = ["FakeUser", "Voice"]


class Voice(Protocol):
    """What somebody says goes here.

    Attributes:
        transcript: All that was said, a line each, for whoever reads why a test failed.
    """

    transcript: list[str]

    async def say(
        self, user: "FakeUser", to: JID | None, what: Content, age: timedelta
    ) -> str:
        """Say something, and wait for what the bot does.

        Args:
            user: Who says it.
            to: The room; the bot by default.
            what: What.
            age: How long it was on its way.

        Returns:
            The id of the message.
        """

    async def say_file(self, user: "FakeUser", to: JID | None, path: Path) -> str:
        """Send a file, else as :meth:`say`."""

    async def say_plain(self, user: "FakeUser", to: JID | None) -> str:
        """Send something that is not encrypted, else as :meth:`say`."""

    async def save(self, attachment: Attachment) -> Path:
        """Fetch a file that the bot sent."""


class FakeUser:
    """Somebody who writes to the bot; ``FakeServer.user()`` makes one.

    Attributes:
        jid: Who it is.
        trust: What was decided about the device that he writes from.
        inbox: What the bot said to him, or in a room of his, as it stands now:
            corrected, and without what it took back.
        files: What files it sent, as they were saved.
        reactions: What it felt, by the id of the message.

    Args:
        world: Where it is heard.
        jid: As above.
        trust: As above.
    """

    def __init__(self, world: Voice, jid: JID, trust: TrustLevel) -> None:
        self._world = world
        self._ids: list[str] = []
        self._places: dict[str, JID | None] = {}
        self.jid = jid
        self.trust = trust
        self.inbox: list[str] = []
        self.files: list[Path] = []
        self.reactions: dict[str, tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"<FakeUser {self.jid.local}>"

    @property
    def last(self) -> str:
        """What the bot said last; empty if it never did."""
        return self.inbox[-1] if self.inbox else ""

    @property
    def last_id(self) -> str:
        """The id of what the bot said last, to react to; empty if it never did."""
        return self._ids[-1] if self._ids else ""

    # --- what he does -------------------------------------------------------------

    async def send(
        self,
        text: str,
        *,
        room: Room | None = None,
        file: Attachment | None = None,
        reply_to: str = "",
        mentions: Collection[JID] = (),
        age: str | timedelta = timedelta(),
    ) -> str:
        """Say something to the bot, and wait for what it does.

        Args:
            text: What to say.
            room: Where; to the bot alone by default.
            file: What is said to come with it; :meth:`send_file` sends one.
            reply_to: The id of what it answers.
            mentions: The accounts that it speaks of or to.
            age: How long it was on its way, such as ``1h``.

        Returns:
            The id of the message.
        """
        what = Content(
            text=text, attachment=file, reply_to=reply_to, mentions=tuple(mentions)
        )
        old = read_duration(age) if isinstance(age, str) else age
        place = None if room is None else room.jid
        self._note(place, text)
        message_id = await self._world.say(self, place, what, old)
        self._places[message_id] = place
        return message_id

    async def send_file(self, path: Path | str, *, room: Room | None = None) -> str:
        """Send a file, and wait for what the bot does; return its id."""
        place = None if room is None else room.jid
        self._note(place, f"sends the file {Path(path).name}")
        message_id = await self._world.say_file(self, place, Path(path))
        self._places[message_id] = place
        return message_id

    async def send_plain(self, text: str, *, room: Room | None = None) -> str:
        """Say something without encryption, as no client of ours can; return its id.

        Raises:
            RuntimeError: The server is a real one.
        """
        place = None if room is None else room.jid
        self._note(place, f"without encryption: {text}")
        return await self._world.say_plain(self, place)

    async def edit(self, message_id: str, text: str) -> None:
        """Say what an earlier message of his should have said."""
        self._note(None, f"corrects {message_id}: {text}")
        await self._say_of(message_id, Content(text=text, corrects=message_id))

    async def react(self, message_id: str, *emojis: str) -> None:
        """React to a message: to one of his own, or of the bot."""
        self._note(None, f"feels {' '.join(emojis)} about {message_id}")
        await self._say_of(message_id, Content(reacts_to=message_id, emojis=emojis))

    async def retract(self, message_id: str) -> None:
        """Take a message of his back."""
        self._note(None, f"takes {message_id} back")
        await self._say_of(message_id, Content(retracts=message_id))

    async def _say_of(self, message_id: str, what: Content) -> None:
        if message_id not in self._places:
            raise KeyError(f"{self!r} knows no message {message_id!r}")
        await self._world.say(self, self._places[message_id], what, timedelta())

    def _note(self, place: JID | None, what: str) -> None:
        where = "" if place is None else f" in {place.local}"
        word = "" if self.trust is TrustLevel.TRUSTED else f" ({self.trust.word})"
        self._world.transcript.append(f"{self.jid.local}{word}{where}: {what}")

    def _note_got(self, event: Event) -> None:
        match event:
            case Message(attachment=Attachment(name=name)):
                what = f"the file {name}"
            case Message(text=text):
                what = text
            case Correction(target=target, text=text):
                what = f"corrects {target}: {text}"
            case Reaction(target=target, emojis=emojis):
                what = f"feels {' '.join(emojis)} about {target}"
            case Retraction(target=target):
                what = f"takes {target} back"
            case _:
                return
        self._world.transcript.append(f"    to {self.jid.local}: {what}")

    # --- what he gets -------------------------------------------------------------

    async def take(self, event: Event) -> None:
        """Get what the bot says, and what it says about that later."""
        self._note_got(event)
        match event:
            case Message(id=message_id, attachment=None):
                self._ids.append(message_id)
                self._places[message_id] = event.room
                self.inbox.append(event.text)
            case Message(attachment=Attachment() as attachment):
                self.files.append(await self._world.save(attachment))
            case Correction(target=target) if target in self._ids:
                self.inbox[self._ids.index(target)] = event.text
            case Reaction():
                self.reactions[event.target] = event.emojis
            case Retraction(target=target) if target in self._ids:
                del self.inbox[self._ids.index(target)]
                self._ids.remove(target)
            case _:
                pass  # a receipt, say
