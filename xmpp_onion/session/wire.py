"""One connection: bytes out, XML elements in.

A wire lives as long as its socket. During the login it is read element by
element with :meth:`Wire.next_element`; afterwards elements go to a receiver.
"""

import asyncio
import contextlib
import logging
import re
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Final, Protocol, cast
from xml.sax.saxutils import quoteattr

from xmpp_onion.errors import SessionError, StreamViolationError
from xmpp_onion.session.guards import (
    Limits,
    Outline,
    StanzaReader,
    StreamClosed,
    StreamOpened,
)

__all__ = ["Connection", "Wire", "stream_header"]

log = logging.getLogger(__name__)

STREAMS: Final = "http://etherx.jabber.org/streams"
FOOTER: Final = "</stream:stream>"
# A login takes about 5 KB. What comes behind its end, before stanzas are let through,
# may be a page of an archive: so much of it is read, and the rest waits in the socket.
_LOGIN_BYTES: Final = 4 * 1024 * 1024
# What may wait to be sent. The courier has four MiB under way, people and rooms are
# asked in a few kilobytes; what is beyond are answers that the server does not read.
_UNREAD_BYTES: Final = 16 * 1024 * 1024
# An aborted connection is gone in the next turn of the loop; a refused one when the
# last word is out.
_ABORT_SECONDS: Final = 2.0


def stream_header(to: str, sender: str = "") -> str:
    """Return what opens a stream.

    Args:
        to: The server.
        sender: The bare JID of who opens it, where that may be known already.
    """
    origin = f" from={quoteattr(sender)}" if sender else ""
    return (
        f"<?xml version='1.0'?><stream:stream to={quoteattr(to)}{origin} version='1.0' "
        f"xmlns='jabber:client' xmlns:stream='{STREAMS}' xml:lang='en'>"
    )


class Connection(Protocol):
    """A connected socket; only :mod:`xmpp_onion.transport` knows its type."""

    def close(self) -> None:
        """Close it."""


class Wire(asyncio.Protocol):
    """An XML stream over one connected socket.

    Args:
        limits: What a stanza may be.

    Attributes:
        last_heard: When anything came, by the clock of the loop.
        heard_bytes: How much came.
        stream_error: The condition that the server ended the stream with.
        is_let_in: The login has succeeded; what comes behind it is no part of it.
        remains: The outline of the stanza that we ended it for, if it was one.
        fault: The mistake of ours that ended it, if it was one.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._reader = StanzaReader(limits)
        self._elements: asyncio.Queue[ET.Element | None] = asyncio.Queue()
        self._receiver: Callable[[ET.Element], None] | None = None
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._reason = ""
        self._unsent: list[str] = []
        self._login_bytes = 0
        self._last_word: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.last_heard = self._loop.time()
        self.heard_bytes = 0
        self.stream_error = ""
        self.is_let_in = self._is_full = False
        self._has_ended = False  # we have; nothing may follow
        self.remains: Outline | None = None
        self.fault: Exception | None = None

    # --- life -----------------------------------------------------------------

    async def attach(self, sock: Connection) -> None:
        """Take over a connected socket; from now on closing it is done here."""
        await self._loop.create_connection(  # type: ignore[call-overload] # only transport may name the socket type
            lambda: self, sock=sock
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport; asyncio calls this."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end; asyncio calls this."""
        del error  # its text may hold an address
        self.transport = None
        if self._last_word is not None:
            self._last_word.cancel()
        self._reason = self._reason or "the connection broke"
        self._elements.put_nowait(None)
        if not self._lost.done():
            self._lost.set_result(self._reason)

    @property
    def is_open(self) -> bool:
        """Whether something can be written."""
        return self.transport is not None and not self.transport.is_closing()

    async def wait_lost(self) -> str:
        """Return why the connection ended, when it has."""
        return await asyncio.shield(self._lost)

    def drop(self, reason: str) -> None:
        """Cut the connection at once; not one more byte is sent."""
        self._reason = self._reason or reason
        if self.transport is not None:
            self.transport.abort()

    async def close(self, *, grace: float = 0.0) -> None:
        """End the connection; nothing of it is left afterwards.

        Args:
            grace: Seconds to wait for the server to close its side of the stream.
                Zero cuts the connection, and not one more byte is sent.
        """
        if grace and self.is_open:
            self._reason = self._reason or "closed"
            self.write(FOOTER)
            self._has_ended = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self.wait_lost()
        if self.transport is not None:
            self.drop("closed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ABORT_SECONDS):
                    await self.wait_lost()

    # --- out ------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Write ``text``; what is written after the end is lost, as in any network.

        What is written in one turn of the loop goes out as one TLS record: a
        message and the question for its ack share their Tor cells.
        """
        if self.is_open and not self._has_ended:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(text)

    def _flush(self) -> None:
        if self.transport is not None and self._unsent:
            # Before, not after it: all that waits for a new connection goes at once.
            if self.transport.get_write_buffer_size() > _UNREAD_BYTES:
                self.drop("the server does not read what we say")
            else:
                self.transport.write("".join(self._unsent).encode())
        self._unsent.clear()

    def refuse(self, error: StreamViolationError) -> None:
        """Tell the server which rule it broke, and close."""
        log.warning("the server broke a rule: %s", error.why or error.what)
        self._end_stream(error.condition, error.why or error.what)

    def fail(self, fault: Exception) -> None:
        """End a stream that a mistake of ours lost the thread of.

        Left to asyncio the connection would end as if by itself, and so would each
        later one that begins with the same.
        """
        self.fault = fault
        self.remains = self._reader.remains("our reader failed at it")
        self._end_stream("undefined-condition", "our reader failed")

    def _end_stream(self, condition: str, reason: str) -> None:
        self._reason = self._reason or reason
        self.write(
            f"<stream:error><{condition} "
            f"xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>{FOOTER}"
        )
        self._flush()
        if self.transport is not None:
            self.transport.close()
            # It need not read what we say, nor ever hang up.
            self._last_word = self._loop.call_later(_ABORT_SECONDS, self.drop, "")

    # --- login ----------------------------------------------------------------

    async def open_stream(self, to: str) -> ET.Element:
        """Start a stream on the connection, and return the server's features.

        Raises:
            StreamViolationError: Something else came first.
            SessionError: The connection ended.
        """
        self.restart()
        self.write(stream_header(to))
        return await self.read_features()

    def restart(self) -> None:
        """Expect a new stream from the server.

        Raises:
            StreamViolationError: Something of the earlier one has come.
        """
        self.refuse_leftovers()
        self._reader = StanzaReader(self._limits)

    def refuse_leftovers(self) -> None:
        """Make sure that nothing waits to be read.

        What came in the clear is not to be believed after TLS has started
        (CVE-2011-0411).

        Raises:
            StreamViolationError: Something does.
        """
        if not self._elements.empty() and self.is_open:
            raise StreamViolationError(
                "the server sent more than it was asked for",
                condition="policy-violation",
            )

    async def read_features(self) -> ET.Element:
        """Return what the server says it can do, which has to be what comes next.

        Raises:
            StreamViolationError: Something else came.
            SessionError: The connection ended.
        """
        features = await self.next_element()
        if features.tag != f"{{{STREAMS}}}features":
            raise StreamViolationError(
                "the server did not say what it can do", condition="bad-format"
            )
        return features

    async def next_element(self) -> ET.Element:
        """Return the next element of the login.

        Raises:
            SessionError: The connection ended, or the server ended the stream.
        """
        element = await self._elements.get()
        if element is None:
            raise self._cut_short()
        return element

    def _cut_short(self) -> SessionError:
        return SessionError(
            "the login was cut short",
            why=self._reason,
            fix="Try again in a moment; if it stays, ask the server's operator.",
        )

    async def start_tls(
        self, context: ssl.SSLContext, name: str, timeout: float
    ) -> bytes:
        """Encrypt the connection; return the certificate shown, in DER form.

        Nothing about the certificate has been checked: compare it before
        anything is written.
        """
        if self.transport is None:
            raise self._cut_short()
        transport = await self._loop.start_tls(
            self.transport,
            self,
            context,
            server_hostname=name,
            ssl_handshake_timeout=timeout,
        )
        if transport is None:
            raise self._cut_short()
        self.transport = transport
        tls = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
        return tls.getpeercert(binary_form=True) or b""

    # --- in -------------------------------------------------------------------

    def deliver_to(self, receiver: Callable[[ET.Element], None]) -> None:
        """Hand elements to ``receiver`` from now on, those that wait first."""
        self._receiver = receiver
        if self._is_full and self.transport is not None:
            self._is_full = False
            self.transport.resume_reading()
        try:
            while not self._elements.empty():
                element = self._elements.get_nowait()
                if element is not None:
                    receiver(element)
        except StreamViolationError as error:
            self.refuse(error)
        except Exception as fault:  # noqa: BLE001 - counted by the session; see `fail`
            self.fail(fault)

    def data_received(self, data: bytes) -> None:
        """Read what came; asyncio calls this."""
        self.last_heard = self._loop.time()
        self.heard_bytes += len(data)
        if not self.is_open:
            return  # we have refused already
        try:
            if self._receiver is None:
                self._count_login(len(data))
            for item in self._reader.feed(data):
                self._take(item)
        except StreamViolationError as error:
            self.remains = self._reader.remains("it breaks the rules of XMPP streams")
            self.refuse(error)
        except Exception as fault:  # noqa: BLE001 - as above
            self.fail(fault)

    def _count_login(self, size_bytes: int) -> None:
        """Refuse a login without end; stop reading what comes behind its end."""
        self._login_bytes += size_bytes
        if self._login_bytes > _LOGIN_BYTES and self.is_let_in:
            if not self._is_full and self.transport is not None:
                self._is_full = True
                self.transport.pause_reading()
        elif self._login_bytes > _LOGIN_BYTES:
            raise StreamViolationError(
                "the server sent more than it was asked for",
                condition="policy-violation",
                why="a login is not that long",
            )

    def _take(self, item: StreamOpened | ET.Element | StreamClosed) -> None:
        match item:
            case StreamOpened():
                pass
            case StreamClosed():
                self.drop("the server closed the stream")
            case _ if not self.is_open:
                pass  # nothing counts after the end (RFC 6120, section 4.4)
            case ET.Element(tag=tag) if tag == f"{{{STREAMS}}}error":
                # see-other-host is one of these, and is not followed (section
                # 4.9.3.19 would have us dial what the server says).
                self.stream_error = _read_stream_error(item)
                self.drop(f"the server ended the stream ({self.stream_error})")
            case _ if self._receiver is not None:
                self._receiver(item)
            case _:
                self._elements.put_nowait(item)


def _read_stream_error(element: ET.Element) -> str:
    """Return the name of a stream error; the server's own words stay out."""
    for child in element:
        name = child.tag.rpartition("}")[2]
        if name != "text" and re.fullmatch(r"[a-z-]{1,40}", name):
            return name
    return "no reason given"
