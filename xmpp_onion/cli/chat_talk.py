"""One person's talk in a terminal: what is shown, and what a typed line does.

No terminal is touched here: lines go out through ``show``, each already harmless.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.chat import (
    Correction,
    Delivery,
    DeliveryFailed,
    DeliveryState,
    Event,
    Message,
    OwnMessage,
    Reaction,
    Receipt,
    Retraction,
    Said,
    Typing,
)
from xmpp_onion.cli.chat_words import COMMANDS, Typed, read_typed
from xmpp_onion.cli.duration import read_duration
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.told import told
from xmpp_onion.errors import UsageError, XmppOnionError

if TYPE_CHECKING:
    from xmpp_onion.client import Client

__all__ = ["Show", "Talk"]

Show: TypeAlias = Callable[[str], None]
"""Prints one line, or several, above what is being typed."""

# Messages that can be referred to by a number; older ones are scrolled away.
_NUMBERED: Final = 500
# Messages of ours whose state is shown; more do not fit beside the rest.
_STATES: Final = 3


@dataclass(slots=True)
class Numbered:
    """A message that stands on the screen.

    Attributes:
        id: The message's.
        where: The conversation.
        is_ours: We wrote it.
        message: What came, if it came.
        state: How far ours has come.
    """

    id: str
    where: JID
    is_ours: bool
    message: Message | None = None
    state: DeliveryState | None = None


class Talk:
    """What one person says and reads.

    Args:
        client: Whose.
        show: Prints.
        to: Whom the person writes to first; None for nobody yet.

    Attributes:
        to: Whom the person writes to.
        last: Our last message.
    """

    def __init__(self, client: "Client", show: Show, to: JID | None) -> None:
        self._client = client
        self._show = show
        self._numbers: OrderedDict[int, Numbered] = OrderedDict()
        self._count = 0
        self._people: set[JID] = set()
        self._unread: Counter[JID] = Counter()
        self.to = to
        self.last: Numbered | None = None

    # --- what comes --------------------------------------------------------------

    async def read(self) -> None:
        """Show what happens, until cancelled."""
        async for event in self._client.events():
            self.take(event)

    def take(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Typing():
                pass  # it would push the screen for nothing
            case Receipt():
                self._note(event.id, event.state)
            case DeliveryFailed():
                self._note(event.id, DeliveryState.FAILED)
                self._show(told(event))
            case Message() | OwnMessage():
                self._say(event)
            case Correction() | Reaction() | Retraction():
                self._show(self._change(event))
            case _:
                self._show(told(event))

    def _say(self, event: Message | OwnMessage) -> None:
        is_ours = isinstance(event, OwnMessage)
        where = event.room or (event.to if is_ours else event.sender)
        number = self._add(
            Numbered(
                event.id,
                where.bare,
                is_ours,
                event if isinstance(event, Message) else None,
            )
        )
        answered = self._number_of(event.reply_to)
        to = f"(to #{answered}) " if answered else ""
        if where.bare != self.to:
            self._unread[where.bare] += not is_ours
            self._show(f"#{number} {to}{told(event)}")
            return
        text = event.text if event.attachment is None else ""
        who = f"{_name(event.sender)}{_doubt(event)}"
        head = f"#{number} {_clock(event)} {who}: {to}"
        if event.attachment is not None:
            name, size = visible(event.attachment.name), event.attachment.size
            text = f"[file {name}, {size} bytes: /save {number}]"
            self._show(head + text)
        else:
            self._show(head + visible(text))

    def _change(self, event: Correction | Reaction | Retraction) -> str:
        """Return what tells that something on the screen is to be another thing."""
        number = self._number_of(event.target)
        if not number or (event.room or event.sender).bare != self.to:
            return told(event)
        head = f"#{number} {_clock(event)} {_name(event.sender)}{_doubt(event)}"
        match event:
            case Correction(text=text):
                return f"{head} corrects: {visible(text)}"
            case Reaction(emojis=emojis):
                return f"{head}: {visible(' '.join(emojis)) or 'no reaction any more'}"
            case Retraction():
                return f"{head} takes it back"

    def _note(self, message_id: str, state: DeliveryState) -> None:
        for one in self._numbers.values():
            if one.id == message_id and one.is_ours:
                one.state = state

    # --- numbers -------------------------------------------------------------------

    def _add(self, one: Numbered) -> int:
        self._count += 1
        self._numbers[self._count] = one
        if len(self._numbers) > _NUMBERED:
            self._numbers.popitem(last=False)
        return self._count

    def _number_of(self, message_id: str) -> int:
        return next(
            (
                number
                for number, one in reversed(self._numbers.items())
                if message_id and one.id == message_id
            ),
            0,
        )

    def _find(self, number: int) -> Numbered:
        if number not in self._numbers:
            raise UsageError(f"there is no message {number} on the screen")
        return self._numbers[number]

    @property
    def status(self) -> str:
        """How far our last messages have come, and how many came elsewhere unread."""
        ours = [
            f"#{number} {one.state}"
            for number, one in self._numbers.items()
            if one.state is not None
        ]
        unread = sum(self._unread.values())
        return ", ".join(ours[-_STATES:] + ([f"{unread} elsewhere"] if unread else []))

    @property
    def is_away(self) -> bool:
        """Whether the connection is down, and is being made anew."""
        return self._client.is_away

    def addresses(self) -> list[str]:
        """Return the addresses that are known here: of talks, rooms and contacts."""
        rooms = {state.jid for state in self._client.rooms.all()}
        return sorted(
            rooms | {one.where for one in self._numbers.values()} | self._people
        )

    # --- what is typed ---------------------------------------------------------------

    async def type(self, line: str) -> bool:
        """Do what a line says; False if it ends the talk.

        What goes wrong is shown, and ends nothing.
        """
        if not line.strip():
            return True
        try:
            typed = read_typed(line)
            if typed.command == "quit":
                return False
            if typed.command:
                await self._commands()[typed.command](typed)
            else:
                await self._send(self._place(), typed.text)
        except XmppOnionError as error:
            self._fail(error)
        except OSError as error:
            self._show(f"! {error.strerror}: {visible(str(error.filename or ''))}")
        return True

    def _fail(self, error: XmppOnionError) -> None:
        parts = [visible(each) for each in (error.what, error.why, error.fix) if each]
        self._show("! " + "\n  ".join(parts))

    def _place(self) -> JID:
        if self.to is None:
            raise UsageError("nobody would read it", fix="Say whom first: /to JID")
        return self.to

    async def _send(self, to: JID, text: str, *, reply_to: Message | str = "") -> None:
        self._sent(to, text, await self._client.send(to, text, reply_to=reply_to))

    def _sent(self, to: JID, text: str, delivery: Delivery) -> None:
        one = Numbered(delivery.id, to.bare, is_ours=True, state=delivery.state)
        number = self._add(one)
        self.last = one
        left_out = f" (not for: {len(delivery.skipped)})" if delivery.skipped else ""
        now = datetime.now().astimezone()
        self._show(f"#{number} {now:%H:%M} you{left_out}: {visible(text)}")
        for each in delivery.skipped:
            self._show(f"  left out: {visible(each)}")

    def _commands(self) -> dict[str, Callable[[Typed], Awaitable[None]]]:
        return {
            "to": self._go_to,
            "reply": self._reply,
            "react": self._react,
            "edit": self._edit,
            "retract": self._retract,
            "file": self._file,
            "save": self._save,
            "timer": self._timer,
            "who": self._who,
            "devices": self._devices,
            "verify": self._verify,
            "distrust": self._distrust,
            "contacts": self._contacts,
            "rooms": self._rooms,
            "join": self._join,
            "leave": self._leave,
            "help": self._help,
        }

    async def _go_to(self, typed: Typed) -> None:
        (jid,) = typed.words(1, 1)
        self.to = parse_recipient(jid)
        del self._unread[self.to.bare]
        self._show(f"You write to {visible(self.to)} now.")

    async def _reply(self, typed: Typed) -> None:
        number, text = typed.number_and_text()
        one = self._find(number)
        if not text:
            raise UsageError(f"it is used as /{typed.usage}")
        await self._send(one.where, text, reply_to=one.message or one.id)

    async def _react(self, typed: Typed) -> None:
        number, emojis = typed.number_and_text()
        one = self._find(number)
        await self._client.react(one.where, one.id, *emojis.split())

    async def _edit(self, typed: Typed) -> None:
        if self.last is None:
            raise UsageError("you have said nothing yet")
        if not typed.text:
            raise UsageError(f"it is used as /{typed.usage}")
        await self._client.correct(self.last.where, self.last.id, typed.text)
        number = self._number_of(self.last.id)
        self._show(f"#{number} is now: {visible(typed.text)}")

    async def _retract(self, typed: Typed) -> None:
        one = self._find(typed.number_and_text()[0]) if typed.text else self.last
        if one is None or not one.is_ours:
            raise UsageError("that is no message of yours")
        await self._client.retract(one.where, one.id)
        self._show(f"#{self._number_of(one.id)} is taken back.")

    async def _file(self, typed: Typed) -> None:
        (name,) = typed.words(1, 1)
        path, to = _path(name), self._place()
        delivery = await self._client.send_file(to, path, progress=self._progress(path))
        self._sent(to, f"[file {path.name}]", delivery)

    async def _save(self, typed: Typed) -> None:
        number, name = typed.number_and_text()
        message = self._find(number).message
        if message is None or message.attachment is None:
            raise UsageError(f"no file came with message {number}")
        path = await message.attachment.save(
            _path(name or "."), progress=self._progress(Path(message.attachment.name))
        )
        self._show(f"Saved as {visible(str(path))}")

    def _progress(self, path: Path) -> Callable[[int, int], None]:
        """Return what shows each quarter of a file."""
        shown = -1

        def tell(done: int, total: int) -> None:
            nonlocal shown
            quarter = 4 * done // total if total else 4
            if 0 < quarter < 4 and quarter > shown:
                shown = quarter
                self._show(f"  {visible(path.name)}: {25 * quarter} %")

        return tell

    async def _timer(self, typed: Typed) -> None:
        (word,) = typed.words(1, 1)
        timer = None if word == "off" else _read_timer(word)
        to = self._place()
        await self._client.set_timer(to, timer)
        kept = f"for {word}" if timer else "until somebody erases it"
        self._show(f"What is said to {visible(to)} is kept {kept}.")

    async def _who(self, typed: Typed) -> None:
        typed.words(0, 0)
        to = self._place()
        state = self._client.room(to).state
        people = sorted(state.members) if state is not None else [to]
        for person in people:
            if person.bare == self._client.jid.bare:
                continue
            devices = [one for one in await self._client.devices(person) if one.active]
            words = sorted(one.trust.word for one in devices)
            self._show(f"  {visible(person)}: {', '.join(words) or 'no device known'}")

    async def _devices(self, typed: Typed) -> None:
        typed.words(0, 0)
        for device in await self._client.devices(self._place()):
            if device.active:
                shown = " ".join(
                    device.fingerprint[at : at + 8] for at in range(0, 64, 8)
                )
                self._show(f"  {shown}  {device.trust.word}")
        self._show("Compare them over another way, then: /verify FINGERPRINT")

    async def _verify(self, typed: Typed) -> None:
        device = await self._client.verify(self._place(), typed.text)
        self._show(f"You believe {device.fingerprint[:8]}… of {visible(device.jid)}.")

    async def _distrust(self, typed: Typed) -> None:
        device = await self._client.distrust(self._place(), typed.text)
        self._show(f"Nothing is sent to {device.fingerprint[:8]}… any more.")

    async def _contacts(self, typed: Typed) -> None:
        typed.words(0, 0)
        people = await self._client.contacts()
        self._people = {each.jid for each in people}
        for each in people:
            self._show(f"  {visible(each.jid)}")
        if not people:
            self._show("You have none: xmpp-onion contact add JID")

    async def _rooms(self, typed: Typed) -> None:
        typed.words(0, 0)
        rooms = self._client.rooms.all()
        for each in rooms:
            doubt = "" if each.is_private else f" (nothing can be said: {each.why})"
            self._show(f"  {visible(each.jid)}: {len(each.members)} members{doubt}")
        if not rooms:
            self._show("You are in none: /join ROOM, or xmpp-onion room create NAME")

    async def _join(self, typed: Typed) -> None:
        (name,) = typed.words(1, 1)
        room = await self._client.join(name)
        self.to = room.jid
        del self._unread[room.jid]
        self._show(f"You write to {visible(self.to)} now.")

    async def _leave(self, typed: Typed) -> None:
        typed.words(0, 0)
        room = self._place()
        await self._client.room(room).leave()
        self.to = None
        self._show(f"You have left {visible(room)}.")

    async def _help(self, typed: Typed) -> None:
        typed.words(0, 0)
        await asyncio.sleep(0)
        for name, (what, text) in COMMANDS.items():
            self._show(f"  {f'/{name} {what}'.strip():<28} {text}")
        self._show("All else is sent. Alt-Enter begins another line.")


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _read_timer(word: str) -> timedelta:
    try:
        return timedelta(seconds=read_duration(word))
    except click.BadParameter as error:
        raise UsageError(error.message) from None


def _clock(event: Said) -> str:
    return f"{event.at.astimezone():%H:%M}"


def _doubt(event: Said) -> str:
    """Return what to know about the device, where nobody compared its key."""
    return "" if event.trust == "verified" else f" ({event.trust})"


def _name(jid: JID) -> str:
    return visible(jid.local)
