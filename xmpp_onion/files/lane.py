"""One circuit for objects, and another when it breaks, as long as it gets on."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from xmpp_onion.chat import Place
from xmpp_onion.errors import (
    AuthenticationError,
    CertificateError,
    DialError,
    FeatureMissingError,
    SessionError,
    TorError,
    TransferError,
    XmppOnionError,
)
from xmpp_onion.files.answers import broken
from xmpp_onion.files.http import Wire
from xmpp_onion.files.parcel import AskSlot, Parcel
from xmpp_onion.files.way import Dialer, Pace, isolated

__all__ = ["PATIENCE", "Into", "Lane"]

log = logging.getLogger(__name__)

# Seconds without a step forward until a transfer gives up. Tor may have to find a
# new guard, or the server to come back; what was done is kept all the same.
PATIENCE: Final = 600.0
# Seconds until the second try, and the longest pause between two.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0

# Objects that are out and not answered, where the server keeps what breaks off: with
# the next one on its way a circuit has four megabytes, two seconds of the fastest.
_UNANSWERED: Final = 1

# RFC 9110, section 15.5.17: the object ends where we would go on. Either all of it
# came and the process died before it was opened, or it is another one: begin anew.
_NOTHING_LEFT: Final = 416


# What a server says of an object that it has, and the digits that it may use else.
_ALL: Final = b"all"
_LONGEST_NUMBER: Final = 15


class Into(Protocol):
    """Where an object goes: a file, or what looks like one from here."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there, and return where that is."""

    def truncate(self, size: int, /) -> int:
        """Forget what is behind."""

    def write(self, data: bytes, /) -> int:
        """Append."""


_Done = TypeVar("_Done")


class Lane:
    """Carries one object after the other, over a circuit of its own.

    Args:
        dialer: The way through Tor.
        account: Whose transfer it is: no circuit is shared with another account.
        pace: How slow the far end may be.
        patience: Seconds without a step forward until it gives up.
    """

    def __init__(
        self,
        dialer: Dialer,
        account: str,
        *,
        pace: Pace | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._dialer = dialer
        self._account = account
        self._pace = pace or Pace()
        self._patience = patience
        self._isolation = isolated(account)
        self._wire: Wire | None = None
        self._end: tuple[str, int] | None = None
        # What is not at the server, as far as we know; in the order it goes out.
        self._open: deque[Parcel] = deque()
        self._gained = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._drop()

    async def store(
        self,
        ask: AskSlot,
        size: int,
        pieces: Callable[[], Iterable[bytes]],
        told: Callable[[int], None],
        *,
        again: Callable[[], Iterable[bytes]] | None = None,
    ) -> Place:
        """Store an object, alone, and return where it is; see ``Parcel``.

        Raises:
            FileError: The server does not take it.
            TorError: It could not be reached for a long time.
        """
        places: list[Place] = []

        async def done(place: Place) -> None:
            places.append(place)

        parcel = Parcel(
            ask=ask, size=size, pieces=pieces, told=told, done=done, again=again
        )
        await self.send(parcel)
        await self.settle()
        return places[0]

    async def send(self, parcel: Parcel) -> None:
        """Send an object, and return when another may follow.

        Where the server keeps what breaks off, that is when all of it is out: its
        answer is taken while the next one goes. ``settle()`` waits for the last.

        Raises:
            FileError: The server does not take it, or one before.
            TorError: It could not be reached for a long time.
        """
        self._open.append(parcel)
        await self._insist(lambda: self._deliver(_UNANSWERED), lambda: self._gained)

    async def settle(self) -> None:
        """Return when the server has all that was sent.

        Raises:
            FileError: It does not take it.
            TorError: It could not be reached for a long time.
        """
        await self._insist(lambda: self._deliver(0), lambda: self._gained)

    async def _deliver(self, unanswered: int) -> None:
        """Send what is not out, and wait until few enough are unanswered."""
        for parcel in tuple(self._open):
            if parcel.wire is None or parcel.wire is not self._wire:
                await self._carry(parcel)
        if self._open and not self._open[-1].goes_on:
            unanswered = 0
        while len(self._open) > unanswered:
            await self._confirm()

    async def _confirm(self) -> None:
        """Put the first one aside when the server has it."""
        parcel = self._open[0]
        if parcel.wire is None:  # nobody may take for stored what never went out
            raise broken("it did not begin")
        await parcel.wire.stored()
        await self._put_aside(parcel)

    async def _confirm_before(self, parcel: Parcel) -> None:
        """Wait for the answers to all before one: they come in this order."""
        while self._open[0] is not parcel:
            await self._confirm()

    async def _put_aside(self, parcel: Parcel) -> None:
        self._open.popleft()
        self._gained += 1
        if parcel.slot is not None:
            await parcel.done(parcel.slot.get)

    async def _carry(self, parcel: Parcel) -> None:
        """Send an object: what the server has not got of it, or all of it anew."""
        if self._wire is not None and not self._wire.can_store:
            await self._confirm_before(parcel)
        if parcel.goes_on:
            await self._confirm_before(parcel)
            if await self._carry_on(parcel):
                return
            self._drop()
        parcel.told(0)
        parcel.slot = slot = await parcel.ask(parcel.size)
        if slot.resume and parcel.again:
            await self._send(parcel, slot.resume, parcel.pieces(), 0)
        else:
            await self._confirm_before(parcel)
            await self._send(parcel, slot.put, parcel.pieces(), None)

    async def _carry_on(self, parcel: Parcel) -> bool:
        """Send the rest, and tell whether the server took it.

        Not if it does not know of the beginning.
        """
        slot = parcel.slot
        if slot is None or slot.resume is None or parcel.again is None:
            return False
        kept = await self._kept_of(slot.resume, slot.headers, parcel.size)
        if kept == 0:
            return False
        if kept is not None:
            try:
                await self._send(parcel, slot.resume, parcel.again(), kept)
                await self._confirm()
            except TransferError as error:
                if error.can_retry:
                    raise
                return False
            return True
        await self._put_aside(parcel)
        return True

    async def _send(
        self, parcel: Parcel, place: Place, source: Iterable[bytes], start: int | None
    ) -> None:
        parcel.told(start or 0)
        wire = await self._connected(place, is_stored=True)
        headers = parcel.slot.headers if parcel.slot else ()
        async for sent in wire.put(place, headers, parcel.size, source, start=start):
            self._gained += max(0, sent - parcel.best)
            parcel.best = max(parcel.best, sent)
            parcel.told(sent)
            if wire.heard():
                await self._confirm()
        parcel.wire = wire

    async def fetch(
        self,
        place: Place,
        into: Into,
        *,
        allow: Callable[[int], None],
        told: Callable[[int, int], None],
        following: Callable[[], Place | None] = lambda: None,
    ) -> int:
        """Append to a file what is missing of an object, and return its size.

        What a server sends after a break is taken only if it says that it begins
        where the file ends; else all of it begins anew.

        Args:
            place: Where it is.
            into: What came of it before; written at its end.
            allow: Called with its bytes before one is taken; raises if it is not to
                come, or cannot be what was sent.
            told: Told bytes done and bytes in all.
            following: Called when it is time to ask for another: returns what will be
                fetched from here next, behind all that it returned before.

        Raises:
            FileError: It is gone, or ``allow`` says no.
            TorError: It could not be reached for a long time.
        """
        best = into.seek(0, 2)

        async def attempt() -> int:
            nonlocal best
            start = into.seek(0, 2)
            wire = await self._connected(place, start)
            try:
                body = await wire.get(place, start=start)
            except TransferError as error:
                if error.status == _NOTHING_LEFT:
                    into.truncate(0)
                raise
            allow(body.total)
            if body.start != start:
                into.truncate(0)
            at = into.seek(body.start)
            async for piece in body.pieces:
                into.write(piece)
                at += len(piece)
                best = max(best, at)
                told(at, body.total)
                if wire.is_time(body.total - at, body.total) and (then := following()):
                    await wire.ask(then)
            return body.total

        return await self._insist(attempt, lambda: best)

    async def _kept_of(
        self, place: Place, headers: Iterable[tuple[str, str]], size: int
    ) -> int | None:
        """Return how many bytes a server kept of what broke off; None if it is done.

        It may not have noticed the break: with the permission it ends the old
        connection first.
        """
        wire = await self._connected(place)
        try:
            body = await wire.get(place, headers)
            said = b""
            if body.size <= _LONGEST_NUMBER:
                said = b"".join([piece async for piece in body.pieces])
        except TransferError as error:
            if error.can_retry:
                raise
            self._drop()
            return 0
        if said == _ALL:
            return None
        return int(said) if said.isdigit() and int(said) <= size else 0

    async def _connected(
        self, place: Place, start: int = 0, *, is_stored: bool = False
    ) -> Wire:
        """Return a wire to where an object lies: the one there is, or a new one."""
        end, wire = (place.host, place.port), self._wire
        if wire is not None and not (
            end == self._end
            and (
                wire.is_reusable
                or wire.awaits(place, start)
                or (is_stored and wire.can_store)
            )
        ):
            self._drop()
        if self._wire is None:
            self._wire = await Wire.connect(
                self._dialer, place, isolation=self._isolation, pace=self._pace
            )
            self._end = end
        return self._wire

    def _drop(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self._wire = None

    async def _insist(
        self, attempt: Callable[[], Awaitable[_Done]], measure: Callable[[], int]
    ) -> _Done:
        """Try until it works, on new circuits, while it gets further than before."""
        now = asyncio.get_running_loop().time
        best, pause, deadline = measure(), _FIRST_PAUSE, now() + self._patience
        while True:
            try:
                return await attempt()
            except XmppOnionError as error:
                self._drop()
                if not _may_mend(error):
                    raise
                if measure() > best:
                    best, pause = measure(), _FIRST_PAUSE
                    deadline = now() + self._patience
                elif now() >= deadline:
                    raise
                log.info("a file goes on by another circuit: %s", error.why)
            except BaseException:
                self._drop()
                raise
            self._isolation = isolated(self._account)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _may_mend(error: XmppOnionError) -> bool:
    """Tell whether another circuit, or a while, may help."""
    match error:
        case TransferError():
            return error.can_retry
        case FeatureMissingError() | AuthenticationError() | CertificateError():
            return False
        case DialError():
            return error.can_retry
        case _:
            return isinstance(error, TorError | SessionError)
