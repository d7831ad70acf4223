"""A server that says that it is another one, spoken by hand, in TLS."""

import asyncio
import contextlib
import re
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import DialError
from xmpp_onion.server.certificate import make_certificate
from xmpp_onion.transport import Isolation, Purpose, Tor

__all__ = ["Mallory", "Stream", "attribute"]

PATIENCE = 120.0
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
REQUIRED = f"<stream:features><starttls xmlns='{TLS}'><required/></starttls>"


def tls_of(name: OnionAddress, *, is_server: bool) -> ssl.SSLContext:
    """Return TLS with a certificate that says that we are ``name``."""
    protocol = ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(make_certificate(name, now=datetime.now(UTC))))
        file.flush()
        context.load_cert_chain(file.name)
    return context


class Stream:
    """A stream between servers, of which we are either end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.heard = ""
        self.stream_id = ""

    @classmethod
    async def dial(
        cls, tor: Tor, to: OnionAddress, name: OnionAddress, *, says: OnionAddress
    ) -> Self:
        """Reach a server through Tor, with a certificate of ``name``.

        Args:
            tor: The way.
            to: Whom to reach.
            name: Of whom the certificate is.
            says: From whom the stream says that it comes.
        """
        isolation = Isolation("mallory", Purpose.CHECK)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    sock = await tor.dial(to, 5269, isolation=isolation)
                    break
                except DialError as error:
                    if not error.can_retry:
                        raise
                    await asyncio.sleep(0.5)
        stream = cls(*await asyncio.open_connection(sock=sock))  # noqa: TID251 - Tor dialed it
        stream.open(says, to)
        await stream.hears("</stream:features>")
        stream.send(f"<starttls xmlns='{TLS}'/>")
        await stream.hears("<proceed")
        await stream._writer.start_tls(tls_of(name, is_server=False))
        stream.open(says, to)
        header = (await stream.hears("</stream:features>")).partition(
            "<stream:features"
        )[0]
        stream.stream_id = attribute(header, "id")
        return stream

    async def answer(
        self, name: OnionAddress, to: OnionAddress, stream_id: str
    ) -> None:
        """Be the server that is dialed, up to where it is asked for something."""
        await self.hears("<stream:stream")
        self.open(name, to, stream_id)
        self.send(f"{REQUIRED}</stream:features>")
        await self.hears("<starttls")
        self.send(f"<proceed xmlns='{TLS}'/>")
        await self._writer.drain()
        await self._writer.start_tls(tls_of(name, is_server=True))
        await self.hears("<stream:stream")
        self.open(name, to, stream_id)
        self.send("<stream:features></stream:features>")

    def open(self, name: OnionAddress, to: OnionAddress, stream_id: str = "") -> None:
        """Send the header of a stream."""
        chosen = stream_id and f"id='{stream_id}' "
        self.send(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' "
            "xmlns:db='jabber:server:dialback' version='1.0' "
            "xmlns:stream='http://etherx.jabber.org/streams' "
            f"{chosen}from='{name}' to='{to}'>"
        )

    def claim(self, name: str, to: str, key: str = "0123") -> None:
        """Say who we are; the server has to dial to know."""
        self.send(f"<db:result from='{name}' to='{to}'>{key}</db:result>")

    def send(self, text: str) -> None:
        """Send XML as it is."""
        self._writer.write(text.encode())

    async def hears(self, end: str) -> str:
        """Return what came up to some words, and the rest of their tag."""
        heard = await self._until(lambda: end in self.heard)
        assert heard, f"the other end hung up: {self.heard}"
        before, _, after = self.heard.partition(end)
        rest, _, self.heard = after.partition(">") if not end.endswith(">") else (
            "", "", after
        )  # fmt: skip
        return before + end + rest

    async def ends(self) -> str:
        """Return all that comes before the other end closes."""
        await self._until(lambda: "</stream:stream>" in self.heard)
        return self.heard

    def close(self) -> None:
        """Close it."""
        self._writer.close()

    async def _until(self, is_there: Callable[[], bool]) -> bool:
        async with asyncio.timeout(PATIENCE):
            while not is_there():
                data = await self._reader.read(4096)
                if not data:
                    return False
                self.heard += data.decode()
        return True


def attribute(text: str, name: str) -> str:
    """Return the last value of an attribute in some XML."""
    return re.findall(rf"\b{name}=['\"]([^'\"]*)", text)[-1]


class Mallory:
    """A server with an onion of its own, that says what it likes.

    It answers for its own name as it should, and adds what ``forge`` makes of it.
    """

    def __init__(self, onion: OnionAddress, victim: OnionAddress, tor: Tor) -> None:
        self.onion = onion
        self.victim = victim
        self.tor = tor
        self.stream_id = "mallory"
        self.forge = ""
        self.keys: asyncio.Queue[str] = asyncio.Queue()
        self._open: set[asyncio.StreamWriter] = set()

    def hang_up(self) -> None:
        """End all streams to it, so that it is dialed again, and forget their keys."""
        for writer in self._open:
            writer.transport.abort()
        self.keys = asyncio.Queue()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Be the onion that the victim dials."""
        stream = Stream(reader, writer)
        self._open.add(writer)
        with contextlib.suppress(OSError, AssertionError, ssl.SSLError):
            await stream.answer(self.onion, self.victim, self.stream_id)
            while True:
                asked = (await stream.hears("</db:")).rpartition("</db:")[0]
                if "<db:result" in asked:
                    await self.keys.put(asked.rpartition(">")[2])
                    stream.send(
                        f"<db:result from='{self.onion}' to='{self.victim}' "
                        "type='valid'/>"
                    )
                    continue
                about = attribute(asked.rpartition("<db:verify")[2], "id")
                stream.send(
                    f"{self.forge}<db:verify from='{self.onion}' to='{self.victim}' "
                    f"id='{about}' type='valid'/>"
                )
        self._open.discard(writer)
        writer.close()
