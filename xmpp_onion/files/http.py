"""HTTP/1.1 to an onion: PUT and GET of one object after another, and nothing else.

h11 speaks the protocol; the connection comes from the one door. The far end is not
trusted: no redirect, no compression, no transfer coding; a head of 16 KiB at most, a
body of exactly the length that was announced; and nothing may stall for ever.
"""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, Self

import h11

from xmpp_onion.address import OnionAddress
from xmpp_onion.chat import Place
from xmpp_onion.errors import TransferError
from xmpp_onion.files.channel import Channel, Connection, Plain, Tls
from xmpp_onion.transport import Isolation, Purpose

__all__ = ["GONE", "Body", "Dialer", "Pace", "Wire", "isolated"]

GONE: Final = frozenset({404, 410})
"""What a server answers where a file is not, or not any more."""

# A head has fifteen lines; Prosody's have 700 bytes.
_HEAD_LIMIT: Final = 16 * 1024
_SEND_BYTES: Final = 64 * 1024
# Interim answers before the real one. Nothing that we ask for has any.
_INTERIM_LIMIT: Final = 5
_DIAL_TIMEOUT: Final = 60.0
# What an answer may send that has no use: an error page.
_PAGE_LIMIT: Final = 64 * 1024


class Dialer(Protocol):
    """What a transfer needs of Tor; the tests have one that stays on loopback."""

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = _DIAL_TIMEOUT,
    ) -> Connection:
        """Connect to an onion service and return the connected socket."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow a server may be before another circuit is tried.

    Attributes:
        idle: Seconds without a byte, either way.
        answer: Seconds until an answer begins. What we sent may still be on its way:
            Tor and the kernel hold several megabytes between us and the server.
        window: In so many seconds at least ``window_bytes`` have to come: who drips
            a byte a minute is not waited for.
        window_bytes: A circuit of a kilobyte a second is worse than another one.
    """

    idle: float = 60.0
    answer: float = 300.0
    window: float = 120.0
    window_bytes: int = 64 * 1024


def isolated(account: str) -> Isolation:
    """Return the isolation of one transfer: a circuit that nothing else uses."""
    return Isolation(account, Purpose.FILES, turn=secrets.randbits(62) + 1)


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


class Wire:
    """One connection to one onion service.

    Args:
        channel: What carries it; closed with the wire.
        pace: How slow the far end may be.
    """

    def __init__(self, channel: Channel, pace: Pace) -> None:
        self._channel = channel
        self._pace = pace
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        self._loop = asyncio.get_running_loop()

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
            with _translated():
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
        """Store an object; yield bytes sent, and end when the server has them all.

        Args:
            place: Where.
            headers: The slot's.
            size: Bytes of it.
            pieces: It.
            start: At a door where uploads go on: how many bytes of it the server has.
                They are left out.

        Raises:
            TransferError: The server does not take it, or the circuit died.
        """
        sent = start or 0
        with _translated():
            head = [*self._head(place), ("Content-Length", str(size - sent)), *headers]
            if start is not None:
                head.append(("Upload-Offset", str(start)))
            await self._send(
                h11.Request(method="PUT", target=place.target, headers=head)
            )
            for part in _parts(_behind(pieces, sent)):
                await self._send(h11.Data(data=part))
                sent += len(part)
                yield sent
            await self._send(h11.EndOfMessage())
            answer = await self._answer()
            await self._finish()
        if answer.status_code not in {200, 201, 204}:
            raise _refused("store", answer.status_code)
        self._begin_anew()

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
        head = [*self._head(place), *headers]
        if start:
            head.append(("Range", f"bytes={start}-"))
        with _translated():
            await self._send(
                h11.Request(method="GET", target=place.target, headers=head)
            )
            await self._send(h11.EndOfMessage())
            answer = await self._answer()
        return self._body(answer, start)

    async def page(self, place: Place, limit_bytes: int) -> bytes:
        """Ask for a page, which may come without its length, and return all of it.

        Raises:
            TransferError: It is not there, is larger, is compressed, leads elsewhere,
                or the circuit died.
        """
        page = bytearray()
        deadline = self._loop.time() + self._pace.answer
        with _translated():
            request = h11.Request(
                method="GET", target=place.target, headers=self._head(place)
            )
            await self._send(request)
            await self._send(h11.EndOfMessage())
            answer = await self._answer()
            if answer.status_code != 200:
                raise _refused("send", answer.status_code)
            _check_coding(answer)
            while not isinstance(
                event := await self._event(min(deadline, self._idle())),
                h11.EndOfMessage,
            ):
                if isinstance(event, h11.Data):
                    page += event.data
                if len(page) > limit_bytes:
                    raise _broken("the page is too large", can_retry=False)
        return bytes(page)

    def _body(self, answer: h11.Response, start: int) -> Body:
        size = _length_of(answer)
        if answer.status_code == 200:
            return Body(0, size, size, self._pieces(size))
        if answer.status_code == 206 and start:
            total = _range_of(answer, start, size)
            return Body(start, size, total, self._pieces(size))
        raise _refused("send", answer.status_code)

    async def _pieces(self, size: int) -> AsyncIterator[bytes]:
        """Yield the body; it has ended only when all of it came."""
        got, mark = 0, 0
        deadline = self._loop.time() + self._pace.window
        with _translated():
            while True:
                event = await self._event(min(deadline, self._idle()))
                if isinstance(event, h11.EndOfMessage):
                    break
                if not isinstance(event, h11.Data):
                    raise _broken("it sent something else instead of the file")
                got += len(event.data)
                if got > size:  # h11 counts as well: this is for who changes it
                    raise _broken("it sent more than it announced")
                if got - mark >= self._pace.window_bytes:
                    mark, deadline = got, self._loop.time() + self._pace.window
                yield bytes(event.data)
        if got != size:
            raise _broken("it sent less than it announced")
        self._begin_anew()

    # --- inside ---------------------------------------------------------------

    def _head(self, place: Place) -> list[tuple[str, str]]:
        """Return what every request says: nothing about us."""
        return [("Host", place.authority), ("Accept-Encoding", "identity")]

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            async with asyncio.timeout(self._pace.idle):
                await self._channel.send(data)

    async def _answer(self) -> h11.Response:
        """Return the head of the answer, whatever its status."""
        deadline = self._loop.time() + self._pace.answer
        for _ in range(_INTERIM_LIMIT + 1):
            event = await self._event(deadline)
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                break
        raise _broken("it does not answer as it should")

    async def _finish(self) -> None:
        """Read what is left of an answer whose body is of no use."""
        size = 0
        deadline = self._idle()
        while not isinstance(event := await self._event(deadline), h11.EndOfMessage):
            size += len(event.data) if isinstance(event, h11.Data) else _PAGE_LIMIT
            if size > _PAGE_LIMIT:
                raise _broken("its answer is too long")

    async def _event(self, deadline: float) -> h11.Event:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout_at(deadline):
                    data = await self._channel.receive()
                self._http.receive_data(data)
            elif isinstance(event, h11.Event):
                return event
            else:
                raise _broken("it closed the connection")

    def _idle(self) -> float:
        return self._loop.time() + self._pace.idle

    def _begin_anew(self) -> None:
        """Make ready for the next request, if the server keeps the connection."""
        is_done = (self._http.our_state, self._http.their_state) == (h11.DONE, h11.DONE)
        # What stands behind an answer must not pass for the answer to the next.
        if is_done and not self._http.trailing_data[0]:
            self._http.start_next_cycle()

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow."""
        return self._http.our_state is h11.IDLE


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what h11 and the system raise into errors of ours."""
    try:
        yield
    except h11.ProtocolError as error:
        raise _broken("it breaks the rules of HTTP") from error
    except TimeoutError as error:
        raise _broken("it was silent for too long, or far too slow") from error
    except ssl.SSLEOFError as error:
        raise _broken("the circuit broke") from error
    except ssl.SSLError as error:
        raise _broken("it breaks the rules of TLS", can_retry=False) from error
    except OSError as error:
        raise _broken("the circuit broke") from error


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


def _length_of(answer: h11.Response) -> int:
    """Return the length of a body that is sent as it is stored.

    Raises:
        TransferError: It is compressed, in a transfer coding, or of unknown length.
    """
    named = _check_coding(answer)
    length = named.get("content-length")
    if "transfer-encoding" in named or length is None:
        raise _broken("it does not say how long the file is")
    return int(length)  # h11 has seen that it is a number


def _check_coding(answer: h11.Response) -> dict[str, bytes]:
    """Return the headers of an answer that is not compressed.

    Raises:
        TransferError: It is.
    """
    named = {name.decode("ascii"): value for name, value in answer.headers}
    if named.get("content-encoding", b"identity").lower() != b"identity":
        raise _broken("it compressed the file, which nobody asked for")
    return named


def _range_of(answer: h11.Response, start: int, size: int) -> int:
    """Return the length of the whole; the part has to be the one asked for.

    Prosody 0.12 names the length where the last byte's number belongs.
    """
    named = {name.decode("ascii"): value for name, value in answer.headers}
    total = start + size
    said = named.get("content-range", b"").decode("ascii", "replace")
    if said not in {f"bytes {start}-{last}/{total}" for last in (total - 1, total)}:
        raise _broken("it sent another part of the file than it was asked for")
    return total


def _broken(why: str, *, can_retry: bool = True) -> TransferError:
    return TransferError(
        "the transfer of a file broke off",
        why=why,
        fix="Try again: what came so far is kept." if can_retry else "",
        can_retry=can_retry,
    )


def _refused(verb: str, status: int) -> TransferError:
    return TransferError(
        f"the server does not {verb} the file",
        why=_WHY.get(status, f"it answered {status}"),
        status=status,
        fix="Files are kept for a few days. Ask its sender to send it again."
        if status in GONE
        else "",
        can_retry=status in {408, 416, 429, 500, 502, 503, 504},
    )


_WHY: Final = {
    401: "it does not believe the permission that it gave (401)",
    403: "it is forbidden (403)",
    404: "it has no such file, or no longer (404)",
    410: "it has the file no longer (410)",
    413: "the file is too large (413)",
    **{
        status: f"it sends us elsewhere ({status}), and nobody follows"
        for status in (300, 301, 302, 303, 304, 305, 307, 308)
    },
}
