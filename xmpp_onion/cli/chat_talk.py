"""One person's talk in a terminal: what is shown of what comes, and what is sent.

No terminal is touched here: lines go out to a :class:`.Paper`, each already harmless.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xmpp_onion.address import JID
from xmpp_onion.chat import (
    Correction,
    Delivery,
    DeliveryFailed,
    DeliveryState,
    Event,
    Message,
    NewDevice,
    OwnMessage,
    Reaction,
    Receipt,
    Retraction,
    Said,
    Typing,
)
from xmpp_onion.cli.chat_belief import Belief
from xmpp_onion.cli.chat_courtesy import Courtesy
from xmpp_onion.cli.chat_marks import Paper, head_of, mark_of
from xmpp_onion.cli.chat_names import SELF, Names
from xmpp_onion.cli.chat_numbers import Numbered, Numbers
from xmpp_onion.cli.chat_states import States
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.told import told
from xmpp_onion.errors import (
    DeliveryFailedError,
    StoreError,
    UndecidedDevicesError,
    UsageError,
    XmppOnionError,
)

if TYPE_CHECKING:
    from xmpp_onion.client import Client

__all__ = ["Talk", "left_behind", "open_talk"]

# Messages of ours whose state is shown below; more do not fit beside the rest.
_STATES: Final = 3
# Conversations whose unread messages are counted below, by name.
_UNREAD: Final = 2
# Conversations whose unread messages are counted at all: strangers may come in crowds.
_COUNTED: Final = 1_000
# Lines of ours that the server need not have yet; who types more waits.
_FOLLOWED: Final = 100
# Letters of a text that tell a person which one is meant.
_BEGIN: Final = 24


@asynccontextmanager
async def open_talk(
    client: "Client",
    paper: Paper,
    to: JID | None,
    changed: Callable[[], None] = lambda: None,
    *,
    before: "Talk | None" = None,
) -> AsyncIterator["Talk"]:
    """Show what happens while the block runs; yield what says something.

    Args:
        client: Whose.
        paper: Where it is shown.
        to: Whom the person writes to first; None for nobody yet.
        changed: Called when what stands below the talk has changed.
        before: What was talked on this paper until its client ended; it goes on.
    """
    async with asyncio.TaskGroup() as tasks:
        talk = Talk(client, paper, to, tasks, changed=changed, before=before)
        beside = [tasks.create_task(one) for one in (talk.read(), talk.belief.run())]
        try:
            yield talk
        finally:
            for one in beside:
                one.cancel()
            talk.end()


class Talk:
    """What one person says and reads; :func:`open_talk` makes one.

    Attributes:
        client: Whose.
        to: Whom the person writes to.
        last: Our last message.
        numbers: The messages on the screen.
        names: What people are called there.
        courtesy: What others may see of us.
        belief: What is believed of the devices of whom the person writes to.
        newest: What came last.
        unread: Messages that came in other conversations, since we were there.
        transfers: How far the files are that go or come, in words.
        people: The contacts, once they were asked for.
        states: Marks what we said as it comes further.
        failed: The exit codes of what went wrong, for a talk that a script holds.

    Args:
        client: As above.
        paper: Where lines are shown.
        to: As above.
        tasks: Where files go and come, beside what is typed.
        changed: Called when what stands below the lines is another.
        before: As above.
    """

    def __init__(
        self,
        client: "Client",
        paper: Paper,
        to: JID | None,
        tasks: asyncio.TaskGroup,
        *,
        changed: Callable[[], None] = lambda: None,
        before: "Talk | None" = None,
    ) -> None:
        self.client = client
        self.to: JID | None = to if before is None else before.to
        self.last: Numbered | None = None if before is None else before.last
        self.numbers: Numbers = Numbers() if before is None else before.numbers
        self.names = Names(client)
        self.states = States(client, self.numbers, paper, changed)
        self.courtesy = Courtesy(client, self._politely, changed)
        self.belief = Belief(client, changed)
        self.unread: Counter[JID] = Counter() if before is None else before.unread
        self.newest: Event | None = None if before is None else before.newest
        self.transfers: dict[str, str] = {}
        self.failed: set[int] = set()
        self.people: set[JID] = set()
        self._paper = paper
        self._tasks = tasks
        self._changed = changed
        self._busy: set[asyncio.Task[None]] = set()
        self._following: set[asyncio.Task[None]] = set()
        self._polite: set[asyncio.Task[None]] = set()
        for one in self.numbers if before is not None else ():
            if one.state is DeliveryState.QUEUED:
                self._follow(one)

    # --- what comes --------------------------------------------------------------

    async def read(self) -> None:
        """Show what happens, until cancelled."""
        self.belief.look(self.to)
        await self.courtesy.load()
        if self.to is not None:
            self.courtesy.went_to(self.to)
        async for event in self.client.events():
            # What was shown when a client ended comes again with the next one.
            if event != self.newest:
                self.take(event)
            self.newest = event

    def take(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Typing():
                self.courtesy.take(event)
            case Receipt():
                self.states.confirm(event)
            case DeliveryFailed():
                self.states.fail(event.id)
                self.failed.add(DeliveryFailedError.exit_code)
                self.show(told(event))
            case Message() | OwnMessage():
                self._say(event)
            case Correction() | Reaction() | Retraction():
                self.show(self._change(event))
            case NewDevice(own=False):
                self.belief.look(self.to)
                self.show(self._tell_new(event))
            case _:
                self.show(told(event))

    def show(self, text: str) -> None:
        """Show one line, or several, each already harmless."""
        self._paper.show(text)

    def _say(self, event: Message | OwnMessage) -> None:
        is_ours = isinstance(event, OwnMessage)
        where = (event.room or (event.to if is_ours else event.sender)).bare
        came = event if isinstance(event, Message) else None
        number = self.numbers.add(Numbered(event.id, where, is_ours, came))
        answered = self.numbers.of(event.reply_to)
        to = f"(to #{answered}) " if answered else ""
        self.courtesy.stopped(event.sender.bare)
        if where != self.to:
            if not is_ours and (where in self.unread or len(self.unread) < _COUNTED):
                self.unread[where] += 1
                self._changed()
            self.show(f"#{number} {to}{told(event)}")
            return
        self.belief.look_if_unknown(self.to)
        if came is not None:
            self.courtesy.shown(came)
        head = f"#{number} {_clock(event)} {self._who(event)}: {to}"
        if event.attachment is not None:
            name, size = visible(event.attachment.name), event.attachment.size
            self.show(f"{head}[file {name}, {size} bytes: /save {number}]")
        else:
            self.show(head + visible(event.text))

    def _change(self, event: Correction | Reaction | Retraction) -> str:
        """Return what tells that something on the screen is to be another thing."""
        number = self.numbers.of(event.target)
        if not number or (event.room or event.sender).bare != self.to:
            return told(event)
        head = f"#{number} {_clock(event)} {self._who(event)}"
        match event:
            case Correction(text=text):
                return f"{head} corrects: {visible(text)}"
            case Reaction(emojis=emojis):
                return (
                    f"{head} reacts: {visible(' '.join(emojis)) or 'nothing any more'}"
                )
            case Retraction():
                return f"{head} takes it back"

    def _tell_new(self, event: NewDevice) -> str:
        """Return who has a new device, and in the same line what to do about it."""
        who = visible(event.sender)
        first = "" if event.sender.bare == self.to else f"/to {who}, then "
        name = self.names.of(event.sender)
        return (
            f"{event.at.astimezone():%H:%M} [{name} has a new device {event.device}, "
            f"{event.trust}: {first}/verify compares it]"
        )

    def _who(self, event: Said) -> str:
        """Return who says something, and what to know about the device."""
        doubt = "" if event.trust == "verified" else f" ({event.trust})"
        if event.sender.bare == self.client.jid.bare:
            return f"{SELF} on device {event.device}{doubt}"
        return f"{self.names.of(event.sender)}{doubt}"

    # --- what stands below ---------------------------------------------------------

    @property
    def status(self) -> str:
        """What stands below a talk: our last messages, and what is elsewhere."""
        ours = [one for one in self.numbers if one.state is not None][-_STATES:]
        parts = [f"#{one.number} {mark_of(one)}" for one in ours]
        if self.courtesy.is_writing(self.to) and self.to is not None:
            parts.append(f"{self.names.of(self.to)} writes…")
        parts.extend(self.transfers.values())
        where = sorted(self.unread, key=lambda jid: -self.unread[jid])
        parts += [f"{self.unread[jid]} from {_begin(jid)}" for jid in where[:_UNREAD]]
        if more := sum(self.unread[jid] for jid in where[_UNREAD:]):
            parts.append(f"{more} elsewhere")
        return ", ".join(parts)

    @property
    def is_away(self) -> bool:
        """Whether the connection is down, and is being made anew."""
        return self.client.is_away

    # --- what is said --------------------------------------------------------------

    def place(self) -> JID:
        """Return whom the person writes to.

        Raises:
            UsageError: To nobody.
        """
        if self.to is None:
            raise UsageError("nobody would read it", fix="Say whom first: /to JID")
        return self.to

    def go_to(self, to: JID | None) -> None:
        """Write to somebody else from now on."""
        self.to = to
        self.belief.look(to)
        if to is not None:
            del self.unread[to.bare]
            self.courtesy.went_to(to)
            self.show(f"You write to {visible(to)} now.")

    async def send(self, to: JID, text: str, *, reply_to: Message | str = "") -> None:
        """Encrypt a text and show it; it goes out by itself, and its mark says so."""
        while len(self._following) >= _FOLLOWED:
            await asyncio.wait(self._following, return_when=asyncio.FIRST_COMPLETED)
        delivery = await self.client.queue(to, text, reply_to=reply_to)
        self.courtesy.sent()
        answered = self.numbers.of(
            reply_to.id if isinstance(reply_to, Message) else reply_to
        )
        self.sent(to, text, delivery, answers=answered)

    def sent(
        self, to: JID, text: str, delivery: Delivery, *, answers: int = 0
    ) -> Numbered:
        """Show something that we said, and follow how far it comes."""
        one = Numbered(delivery.id, to.bare, is_ours=True, state=delivery.state)
        one.clock = f"{datetime.now().astimezone():%H:%M}"
        one.text = " ".join(text.split())[: _BEGIN + 1]
        number = self.numbers.add(one)
        self.last = one
        self.belief.look_if_unknown(self.to)
        left_out = f" (not for: {len(delivery.skipped)})" if delivery.skipped else ""
        reply = f"(to #{answers}) " if answers else ""
        self._paper.show_mine(
            number, f"{head_of(one)}{left_out}: {reply}{visible(text)}"
        )
        for each in delivery.skipped:
            self.show(f"  left out: {visible(each)}")
        self._follow(one)
        return one

    def _follow(self, one: Numbered) -> None:
        """Mark a line of ours when the server has it."""
        task = self._tasks.create_task(self.states.follow(one))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    def beside(self, work: Awaitable[object]) -> None:
        """Do what takes long without holding up the talk; what goes wrong is shown."""
        task = self._tasks.create_task(self._show_errors(work))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _show_errors(self, work: Awaitable[object]) -> None:
        try:
            await work
        except XmppOnionError as error:
            self.fail(error)
        except OSError as error:
            self.fail_of_system(error)

    def _politely(self, work: Awaitable[object]) -> None:
        """Tell others something that they need not know: if it cannot be, it is not."""

        async def quietly() -> None:
            with suppress(XmppOnionError):
                await work

        task = self._tasks.create_task(quietly())
        self._polite.add(task)
        task.add_done_callback(self._polite.discard)

    def fail(self, error: XmppOnionError, unsaid: str = "") -> None:
        """Show what went wrong, why, how to mend it, and what was not said for it."""
        self.failed.add(error.exit_code)
        parts = [visible(each) for each in (error.what, error.why, error.fix) if each]
        if isinstance(error, UndecidedDevicesError):
            parts.append("Here: /verify, and it says how.")
        if unsaid:
            parts.append(f"Not sent: {visible(unsaid)}")
        self.show("! " + "\n  ".join(parts))

    def fail_of_system(self, error: OSError, unsaid: str = "") -> None:
        """Show what the system did not do."""
        self.failed.add(StoreError.exit_code)
        end = f"\n  Not sent: {visible(unsaid)}" if unsaid else ""
        self.show(f"! {error.strerror}: {visible(str(error.filename or ''))}{end}")

    def progress(self, path: Path) -> Callable[[int, int], None]:
        """Return what shows how far a file is, below the talk."""
        name = visible(path.name)

        def tell(done: int, total: int) -> None:
            self.transfers[name] = f"{name} {100 * done // total if total else 100} %"
            self._changed()

        return tell

    def arrived(self, path: Path) -> None:
        """Show no more how far a file is."""
        self.transfers.pop(visible(path.name), None)
        self._changed()

    async def settle(self, timeout: float) -> int:
        """Wait until all is done and the server has it; return what it has not.

        Args:
            timeout: Seconds.
        """
        if waiting := self._busy | self._following:
            await asyncio.wait(waiting, timeout=timeout)
        return len(self._following)

    def end(self) -> None:
        """Stop all that runs beside; what was not shown yet is."""
        self.states.end()
        self.courtesy.end()
        for task in (*self._busy, *self._following, *self._polite):
            task.cancel()

    def addresses(self) -> list[str]:
        """Return the addresses that are known here.

        Of talks, rooms and contacts, and of the members where we write to a room.
        """
        rooms = {state.jid: state for state in self.client.rooms.all()}
        here = rooms.get(self.to) if self.to is not None else None
        members = set() if here is None else set(here.members)
        talks = {one.where for one in self.numbers}
        own = {self.client.jid.bare}
        return sorted((members | set(rooms) | talks | self.people) - own)


def left_behind(count: int) -> str:
    """Return what to tell of messages that are kept, and not with the server."""
    return f"On this disk, not with the server yet: {count}. They go out next time."


def _clock(event: Said) -> str:
    return f"{event.at.astimezone():%H:%M}"


def _begin(jid: JID) -> str:
    shown = visible(jid)
    return shown if len(shown) <= _BEGIN else f"{shown[:_BEGIN]}…"
