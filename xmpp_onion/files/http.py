"""HTTP/1.1 to an onion: PUT and GET of one object after another, and nothing else.

h11 speaks the protocol; the connection comes from the one door. The far end is not
trusted: no redirect, no compression, no transfer coding; a head of 16 KiB at most, a
body of exactly the length that was announced; and nothing may stall for ever.

The next object is asked for while one comes, so that the way never stands empty for a
round trip (RFC 9112, section 9.3.2). h11 knows one request at a time: each has a state
of its own, and what stands behind an answer belongs to the next request that waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

import h11

from xmpp_onion.chat import Place
from xmpp_onion.files.answers import (
    broken,
    check_coding,
    length_of,
    range_of,
    refused,
    stays,
    translated,
)
from xmpp_onion.files.channel import Channel, Plain, Tls
from xmpp_onion.files.tempo import Tempo
from xmpp_onion.files.way import Dialer, Pace
from xmpp_onion.transport import Isolation

__all__ = ["Body", "Wire"]

# A head has fifteen lines; Prosody's have 700 bytes.
_HEAD_LIMIT: Final = 16 * 1024
_SEND_BYTES: Final = 64 * 1024
# Interim answers before the real one. Nothing that we ask for has any.
_INTERIM_LIMIT: Final = 5
# What an answer may send that has no use: an error page.
_PAGE_LIMIT: Final = 64 * 1024
# Objects asked for and not begun: eight megabytes of ours, two seconds of the fastest
# circuit.
_AHEAD: Final = 4


@dataclass(slots=True)
class Body:
    """An answer to GET whose head came.

    Attributes:
        start: The first byte that comes; zero if the server sends all of it.
        size: Bytes that come.
        total: Bytes of the whole object.
    """

    start: int
    size: int
    total: int
    pieces: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A request whose answer did not end yet.

    Attributes:
        http: How far it is.
        place: Of the object.
        start: Of what of it was asked for; None if it is being stored.
    """

    http: h11.Connection
    place: Place
    start: int | None = None


class Wire:
    """One connection to one onion service.

    Args:
        channel: What carries it; closed with the wire.
        pace: How slow the far end may be.
    """

    def __init__(self, channel: Channel, pace: Pace) -> None:
        self._channel = channel
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._tempo = Tempo()
        self._asked: deque[_Asked] = deque()
        self._stays = True

    @classmethod
    async def connect(
        cls, dialer: Dialer, place: Place, *, isolation: Isolation, pace: Pace
    ) -> Self:
        """Connect to where an object lies. Close it in the end.

        Raises:
            TorError: It cannot be reached.
            TransferError: It speaks no TLS where that is expected, or breaks off.
        """
        sock = await dialer.dial(place.host, place.port, isolation=isolation)
        channel = Plain(sock)
        if place.is_plain:
            return cls(channel, pace)
        try:
            with translated():
                async with asyncio.timeout(pace.answer):
                    return cls(await Tls.begin(channel, place.host), pace)
        except BaseException:
            channel.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    async def put(
        self,
        place: Place,
        headers: Iterable[tuple[str, str]],
        size: int,
        pieces: Iterable[bytes],
        *,
        start: int | None = None,
    ) -> AsyncIterator[int]:
        """Send an object; yield how many bytes of it are out.

        Whether the server takes it says ``stored()``, in the order of the objects.

        Args:
            place: Where.
            headers: The slot's.
            size: Bytes of it.
            pieces: It.
            start: At a door where uploads go on: how many bytes of it the server has.
                They are left out.

        Raises:
            TransferError: The circuit died.
        """
        sent = start or 0
        with translated():
            head = [*self._head(place), ("Content-Length", str(size - sent)), *headers]
            if start is not None:
                head.append(("Upload-Offset", str(start)))
            put = self._begin(place)
            await self._send(
                put, h11.Request(method="PUT", target=place.target, headers=head)
            )
            for part in _parts(_behind(pieces, sent)):
                await self._send(put, h11.Data(data=part))
                sent += len(part)
                yield sent
            await self._send(put, h11.EndOfMessage())

    async def stored(self) -> None:
        """Return when the server has the first object that is out.

        Raises:
            TransferError: It does not take it, or the circuit died.
        """
        with translated():
            answer = await self._answer()
            await self._finish()
        if answer.status_code not in {200, 201, 204}:
            raise refused("store", answer.status_code)
        self._begin_anew()

    def heard(self) -> bool:
        """Tell whether an answer came to an object that is all out.

        Raises:
            TransferError: The circuit died.
        """
        if len(self._asked) < 2:  # the last one is on its way
            return False
        with translated():
            data = self._channel.receive_now()
            if data is not None:
                self._asked[0].http.receive_data(data)
        return data is not None

    async def get(
        self,
        place: Place,
        headers: Iterable[tuple[str, str]] = (),
        *,
        start: int = 0,
    ) -> Body:
        """Ask for an object, from byte ``start`` on, and return what comes.

        What comes may begin at zero all the same: look at ``Body.start``. Headers are
        for a place that asks for a permission.

        Raises:
            TransferError: It is not there, the circuit died, or the answer is none
                that may be believed.
        """
        if not self.awaits(place, start):
            await self.ask(place, headers, start=start)
        with translated():
            answer = await self._answer()
        self._stays = stays(answer)
        return self._body(answer, start)

    async def ask(
        self, place: Place, headers: Iterable[tuple[str, str]] = (), *, start: int = 0
    ) -> None:
        """Ask for an object whose turn to ``get()`` comes later.

        Raises:
            TransferError: The circuit died.
        """
        head = [*self._head(place), *headers]
        if start:
            head.append(("Range", f"bytes={start}-"))
        get = self._begin(place, start)
        request = h11.Request(method="GET", target=place.target, headers=head)
        with translated():
            await self._send(get, request, h11.EndOfMessage())

    def awaits(self, place: Place, start: int) -> bool:
        """Tell whether the next answer is that to a question for this."""
        if not self._asked or not self._stays:
            return False
        first = self._asked[0]
        return (first.place, first.start) == (place, start)

    def is_time(self, left: int, size: int) -> bool:
        """Tell whether to ask for another object, or the way will stand empty.

        Args:
            left: Bytes of the one that comes which did not come yet.
            size: Bytes of each that was asked for behind it.
        """
        ahead = len(self._asked) - 1
        if not self._stays or ahead >= _AHEAD:
            return False
        return self._tempo.is_time(left + ahead * size, self._loop.time())

    async def page(self, place: Place, limit_bytes: int) -> bytes:
        """Ask for a page, which may come without its length, and return all of it.

        Raises:
            TransferError: It is not there, is larger, is compressed, leads elsewhere,
                or the circuit died.
        """
        page = bytearray()
        deadline = self._loop.time() + self._pace.answer
        with translated():
            await self.ask(place)
            answer = await self._answer()
            if answer.status_code != 200:
                raise refused("send", answer.status_code)
            check_coding(answer)
            while not isinstance(
                event := await self._event(min(deadline, self._idle())),
                h11.EndOfMessage,
            ):
                if isinstance(event, h11.Data):
                    page += event.data
                if len(page) > limit_bytes:
                    raise broken("the page is too large", can_retry=False)
        return bytes(page)

    def _body(self, answer: h11.Response, start: int) -> Body:
        size = length_of(answer)
        if answer.status_code == 200:
            return Body(0, size, size, self._pieces(size))
        if answer.status_code == 206 and start:
            total = range_of(answer, start, size)
            return Body(start, size, total, self._pieces(size))
        raise refused("send", answer.status_code)

    async def _pieces(self, size: int) -> AsyncIterator[bytes]:
        """Yield the body; it has ended only when all of it came."""
        got, mark = 0, 0
        deadline = self._loop.time() + self._pace.window
        with translated():
            while True:
                event = await self._event(min(deadline, self._idle()))
                if isinstance(event, h11.EndOfMessage):
                    break
                if not isinstance(event, h11.Data):
                    raise broken("it sent something else instead of the file")
                got += len(event.data)
                self._tempo.came(len(event.data))
                if got > size:  # h11 counts as well: this is for who changes it
                    raise broken("it sent more than it announced")
                if got - mark >= self._pace.window_bytes:
                    mark, deadline = got, self._loop.time() + self._pace.window
                yield bytes(event.data)
        if got != size:
            raise broken("it sent less than it announced")
        self._begin_anew()

    # --- inside ---------------------------------------------------------------

    def _head(self, place: Place) -> list[tuple[str, str]]:
        """Return what every request says: nothing about us."""
        return [("Host", place.authority), ("Accept-Encoding", "identity")]

    def _begin(self, place: Place, start: int | None = None) -> h11.Connection:
        """Return the state of a new request, whose answer comes after all others."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        if not self._asked:
            self._tempo.asked(self._loop.time())
        self._asked.append(_Asked(http, place, start))
        return http

    async def _send(self, http: h11.Connection, *events: h11.Event) -> None:
        data = b"".join(http.send(event) or b"" for event in events)
        if data:
            async with asyncio.timeout(self._pace.idle):
                await self._channel.send(data)

    async def _answer(self) -> h11.Response:
        """Return the head of the answer, whatever its status."""
        deadline = self._loop.time() + self._pace.answer
        for _ in range(_INTERIM_LIMIT + 1):
            event = await self._event(deadline)
            if isinstance(event, h11.Response):
                self._tempo.answered(self._loop.time())
                return event
            if not isinstance(event, h11.InformationalResponse):
                break
        raise broken("it does not answer as it should")

    async def _finish(self) -> None:
        """Read what is left of an answer whose body is of no use."""
        size = 0
        deadline = self._idle()
        while not isinstance(event := await self._event(deadline), h11.EndOfMessage):
            size += len(event.data) if isinstance(event, h11.Data) else _PAGE_LIMIT
            if size > _PAGE_LIMIT:
                raise broken("its answer is too long")

    async def _event(self, deadline: float) -> h11.Event:
        http = self._asked[0].http
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout_at(deadline):
                    data = await self._channel.receive()
                http.receive_data(data)
            elif isinstance(event, h11.Event):
                return event
            else:
                raise broken("it closed the connection")

    def _idle(self) -> float:
        return self._loop.time() + self._pace.idle

    def _begin_anew(self) -> None:
        """Turn to the next request, if the server keeps the connection."""
        http = self._asked.popleft().http
        behind, is_closed = http.trailing_data
        if (http.our_state, http.their_state) != (h11.DONE, h11.DONE) or is_closed:
            self._stays = False
        if not self._asked:
            # What stands behind an answer must not pass for that to a later question.
            self._stays = self._stays and not behind
        elif self._stays and behind:  # to h11 no bytes are the end
            self._asked[0].http.receive_data(behind)

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow, and nothing is waited for."""
        return self._stays and not self._asked

    @property
    def can_store(self) -> bool:
        """Whether an object may follow: what is waited for are answers to such."""
        return self._stays and all(each.start is None for each in self._asked)


def _behind(pieces: Iterable[bytes], start: int) -> Iterator[bytes]:
    """Yield the same bytes, but for the first ones."""
    for piece in pieces:
        if start < len(piece):
            yield piece[start:]
        start = max(0, start - len(piece))


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in parts, each of which has the idle time to go out."""
    for piece in pieces:
        for at in range(0, len(piece), _SEND_BYTES):
            yield piece[at : at + _SEND_BYTES]
