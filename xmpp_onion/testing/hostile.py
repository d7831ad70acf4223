"""An XMPP server that misbehaves by script, to see what a client puts up with.

A script is a coroutine that talks to one client::

    async def script(peer: Peer) -> None:
        await peer.greet("<mechanisms xmlns='…'>…</mechanisms>")
        await peer.read("</auth>")

    async with HostileServer(script) as server:
        ...  # a session that dials LoopbackDialer(server.port)
    assert "PLAIN" not in server.heard
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import re
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.server.certificate import make_certificate

__all__ = ["HostileServer", "Peer", "make_onion_name"]

SASL: Final = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
SM: Final = "xmlns='urn:xmpp:sm:3'"
STARTTLS: Final = (
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
)
MECHANISMS: Final = (
    f"<mechanisms {SASL}><mechanism>SCRAM-SHA-256</mechanism></mechanisms>"
)
SESSION: Final = f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm {SM}/>"
ITERATIONS: Final = 4096
# Of the loop, from a client that has connected to our script for it. If the server
# closes in between, nobody closes its connection, or the script outlives us: a warning
# in whichever test is next.
_TURNS: Final = 8


def make_onion_name() -> OnionAddress:
    """Return the name of an onion service that nobody has."""
    key, version = os.urandom(32), b"\x03"
    checksum = hashlib.sha3_256(b".onion checksum" + key + version).digest()[:2]
    label = base64.b32encode(key + checksum + version).decode().lower()
    return OnionAddress(f"{label}.onion")


@dataclass(slots=True)
class Peer:
    """One client, as a script sees it.

    Args:
        reader: What it sends.
        writer: What it gets.
        account: Who the server says it serves.
        password: What a good login proves.
        tls: With the server's certificate.
        heard: All that it sent, decrypted.
        news: Set when it has sent something.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    account: JID
    password: str
    tls: ssl.SSLContext
    heard: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _unread: str = field(default="", repr=False)

    async def read(self, marker: str) -> str:
        """Return what the client sends, up to and with ``marker``."""
        while marker not in self._unread:
            self._unread += await self.hear()
        text, _, rest = self._unread.partition(marker)
        self._unread = rest
        return text + marker

    async def hear(self) -> str:
        """Return what the client sends next.

        Raises:
            ConnectionResetError: It hung up.
        """
        data = await self.reader.read(65536)
        if not data:
            raise ConnectionResetError("the client hung up")
        self.heard += data.decode()
        self.news.set()
        return data.decode()

    async def send(self, text: str | bytes) -> None:
        """Send ``text`` as it is."""
        self.writer.write(text if isinstance(text, bytes) else text.encode())
        await self.writer.drain()
        # Else who sends for ever would never be told that nobody is there any more:
        # with TLS above it a connection that broke takes all that is written.
        await asyncio.sleep(0)

    async def greet(
        self, features: str, *, prolog: str = "<?xml version='1.0'?>"
    ) -> None:
        """Wait for a stream header and answer it, offering ``features``."""
        await self.read("<stream:stream")
        await self.read(">")
        await self.send(
            f"{prolog}<stream:stream xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' id='x' version='1.0' "
            f"from='{self.account.domain}'><stream:features>{features}"
            "</stream:features>"
        )

    async def start_tls(self) -> None:
        """Offer TLS, and do it."""
        await self.greet(STARTTLS)
        await self.read("<starttls")
        await self.read("/>")
        await self.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await self.writer.start_tls(self.tls)

    async def scram(self) -> None:
        """Let the client log in, if it knows the password."""
        await self.greet(MECHANISMS)
        first = await self._sasl("auth")
        bare = first.partition(",,")[2]  # after "n" or "y": no channel binding
        nonce = bare.partition("r=")[2] + "server"
        salt = os.urandom(16)
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={ITERATIONS}"
        await self.send(f"<challenge {SASL}>{_encode(challenge)}</challenge>")
        final = await self._sasl("response")
        without_proof = final.partition(",p=")[0]
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, ITERATIONS)
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        whole = f"{bare},{challenge},{without_proof}".encode()
        signature = base64.b64encode(hmac.digest(server_key, whole, "sha256"))
        await self.send(
            f"<success {SASL}>{_encode('v=' + signature.decode())}</success>"
        )

    async def _sasl(self, name: str) -> str:
        text = await self.read(f"</{name}>")
        found = re.search(r">([A-Za-z0-9+/=]+)</", text)
        return base64.b64decode(found.group(1)).decode() if found else ""

    async def answer_bind(self, jid: str) -> None:
        """Answer the request for a resource with ``jid``."""
        await self.read("</iq>")
        found = list(re.finditer(r"<iq type='set' id='([^']+)'", self.heard))
        await self.send(
            f"<iq type='result' id='{found[-1].group(1)}'>"
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            f"<jid>{jid}</jid></bind></iq>"
        )

    async def log_in(self, *, tls: bool = True) -> None:
        """Take the client all the way to a new session, which could be resumed."""
        if tls:
            await self.start_tls()
        await self.scram()
        await self.greet(SESSION)
        if "<resume" in await self.read(">"):
            await self.send(f"<failed {SM}/>")
        await self.answer_bind(f"{self.account}/here")
        await self.read("<enable")
        await self.read("/>")
        await self.send(f"<enabled {SM} resume='true' id='again'/>")


class HostileServer:
    """Listens on loopback and runs ``script`` for each client; a context manager.

    Args:
        script: What it does. A client that hangs up ends it.
        password: Of its one account, ``victim``.
    """

    def __init__(
        self,
        script: Callable[[Peer], Awaitable[None]],
        *,
        password: str = "sesame",  # noqa: S107 - of nobody
    ) -> None:
        self.onion = make_onion_name()
        self.jid = JID(f"victim@{self.onion}")
        self.password = password
        self.peers: list[Peer] = []
        self.ended = asyncio.Semaphore(0)
        self._news = asyncio.Event()
        self._script = script
        key, certificate = make_certificate(self.onion, now=datetime.now(UTC))
        der = ssl.PEM_cert_to_DER_cert(certificate.decode())
        self.certificate = hashlib.sha256(der).hexdigest()
        self._tls = _server_context(key, certificate)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        for peer in self.peers:
            peer.writer.transport.abort()
        for _ in self.peers:
            await self.ended.acquire()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        assert self._server is not None  # noqa: S101 - for the type checker
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def heard(self) -> str:
        """All that every client sent, decrypted."""
        return "".join(peer.heard for peer in self.peers)

    async def wait_heard(self, text: str, *, timeout: float = 60.0) -> None:
        """Return when a client has sent ``text``."""
        async with asyncio.timeout(timeout):
            while text not in self.heard:
                self._news.clear()
                await self._news.wait()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = Peer(reader, writer, self.jid, self.password, self._tls, news=self._news)
        self.peers.append(peer)
        try:
            with contextlib.suppress(OSError, ssl.SSLError, UnicodeDecodeError):
                await self._script(peer)
                while True:  # stay until it hangs up
                    await peer.hear()
        finally:
            writer.transport.abort()
            self.ended.release()


def _server_context(key: bytes, certificate: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.touch(0o600)
        path.write_bytes(key + certificate)
        context.load_cert_chain(path)
    return context


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
