"""One circuit for objects, and another when it breaks, as long as it gets on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from xmpp_onion.chat import Place, Slot
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
from xmpp_onion.files.http import Dialer, Pace, Wire, isolated

__all__ = ["PATIENCE", "AskSlot", "Into", "Lane"]

log = logging.getLogger(__name__)

AskSlot = Callable[[int], Awaitable[Slot]]
"""Returns a new slot for an object of so many bytes."""

# Seconds without a step forward until a transfer gives up. Tor may have to find a
# new guard, or the server to come back; what was done is kept all the same.
PATIENCE: Final = 600.0
# Seconds until the second try, and the longest pause between two.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0

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
    """Carries one object at a time, over a circuit of its own.

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
        """Store an object and return where it is.

        Each try has a slot of its own: a server need not take one twice. If it keeps
        what broke off, the object goes on instead where that ends.

        Args:
            ask: Asks for a slot.
            size: Bytes of the object.
            pieces: Begins the object anew; what it yields has ``size`` bytes.
            told: Told how many bytes of it are out, at each try.
            again: Yields the very bytes of the last try again; None if nobody can.

        Raises:
            FileError: The server does not take it.
            TorError: It could not be reached for a long time.
        """
        best = 0
        slot: Slot | None = None

        async def send(
            place: Place, source: Iterable[bytes], start: int | None
        ) -> None:
            nonlocal best
            told(start or 0)
            wire = await self._connected(place)
            headers = slot.headers if slot else ()
            async for sent in wire.put(place, headers, size, source, start=start):
                best = max(best, sent)
                told(sent)

        async def attempt() -> Place:
            nonlocal slot
            if slot and slot.resume and again:
                kept = await self._kept_of(slot.resume, slot.headers, size)
                if kept is None:
                    return slot.get
                if kept and await _goes_on(send(slot.resume, again(), kept)):
                    return slot.get
                self._drop()
            told(0)
            slot = await ask(size)
            if slot.resume and again:
                await send(slot.resume, pieces(), 0)
            else:
                await send(slot.put, pieces(), None)
            return slot.get

        return await self._insist(attempt, lambda: best)

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

    async def _connected(self, place: Place, start: int = 0) -> Wire:
        """Return a wire to where an object lies: the one there is, or a new one."""
        end = place.host, place.port
        if self._wire is not None and (
            end != self._end
            or not (self._wire.is_reusable or self._wire.awaits(place, start))
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


async def _goes_on(sending: Awaitable[None]) -> bool:
    """Tell whether a server took the rest; not if it does not know of the beginning."""
    try:
        await sending
    except TransferError as error:
        if error.can_retry:
            raise
        return False
    return True


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
