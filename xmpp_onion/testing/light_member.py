"""A light-weight occupant of a room: a bare XMPP stream that counts what it gets.

A hundred of them join a real Prosody in seconds, because they do nothing that nobody
asked for: no TLS, no roster, no encryption. For tests of what the *server* does, and
for measurements of rooms.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from xmpp_onion.address import JID

__all__ = ["LightMember", "prove"]

_CLIENT = "{jabber:client}"
_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
_READ_BYTES = 64 * 1024


class LightMember:
    """One session of an account; entering logs in.

    Args:
        jid: The account, bare.
        password: Its password.
        port: Where its server listens, on 127.0.0.1.
        first: What to say before anything else, as Tor does for a circuit.
        patience: Seconds to wait for anything.

    Attributes:
        received_bytes: All that came through the stream so far.
    """

    def __init__(
        self,
        jid: JID,
        password: str,
        port: int,
        *,
        first: bytes = b"",
        patience: float = 60.0,
    ) -> None:
        self.jid = jid.bare
        self.received_bytes = 0
        self._password = password
        self._port = port
        self._first = first
        self._patience = patience
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._depth = 0
        self._waiting: list[ET.Element] = []
        self._ids = 0

    async def __aenter__(self) -> Self:
        await self.connect()
        await self._log_in()
        await self._open()
        bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
        await self.ask(bind, kind="set")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more: the server has closed the stream."""
        return self._writer.is_closing()

    async def connect(self) -> ET.Element:
        """Open a stream, and return its features; entering does it, too."""
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port
        )
        self._writer.write(self._first)
        return await self._open()

    async def ask(self, payload: str, *, to: str = "", kind: str = "get") -> ET.Element:
        """Send an IQ and return its answer; what comes before it is dropped.

        Raises:
            AssertionError: The answer is an error.
        """
        self._ids += 1
        to = to and f" to={quoteattr(to)}"
        self.send(f"<iq type='{kind}' id='q{self._ids}'{to}>{payload}</iq>")
        own = f"q{self._ids}"
        answer = await self.next(
            lambda stanza: stanza.tag == f"{_CLIENT}iq" and stanza.get("id") == own
        )
        if answer.get("type") != "result":
            raise AssertionError(ET.tostring(answer, encoding="unicode"))
        return answer

    def send(self, text: str) -> None:
        """Send XML as it is."""
        self._writer.write(text.encode())

    async def next(
        self, wanted: Callable[[ET.Element], bool] = lambda _: True
    ) -> ET.Element:
        """Return the next stanza that is wanted, and drop those before it.

        Raises:
            TimeoutError: It did not come in time.
        """
        async with asyncio.timeout(self._patience):
            while True:
                while self._waiting:
                    if wanted(stanza := self._waiting.pop(0)):
                        return stanza
                await self._read()

    async def next_message(self) -> ET.Element:
        """Return the next message of a room, and drop what comes before it."""
        return await self.next(
            lambda stanza: (
                stanza.tag == f"{_CLIENT}message"
                and stanza.get("type") == "groupchat"
                and stanza.find(f"{_CLIENT}subject") is None
            )
        )

    async def join(self, room: str, nick: str, *, history: int = 0) -> None:
        """Enter a room; return when the room said that we are in.

        Args:
            room: Which one.
            nick: As whom.
            history: How many old messages to ask for; they come before the subject.
        """
        self.send(
            f"<presence to={quoteattr(f'{room}/{nick}')}>"
            "<x xmlns='http://jabber.org/protocol/muc'>"
            f"<history maxstanzas='{history}'/></x></presence>"
        )
        user = "{http://jabber.org/protocol/muc#user}"
        await self.next(
            lambda stanza: (
                stanza.tag == f"{_CLIENT}presence"
                and stanza.find(f"{user}x/{user}status[@code='110']") is not None
            )
        )

    async def leave(self, room: str, nick: str) -> None:
        """Leave a room; return when the room said that we are out."""
        self.send(f"<presence type='unavailable' to={quoteattr(f'{room}/{nick}')}/>")
        await self.next(
            lambda stanza: (
                stanza.get("type") == "unavailable"
                and stanza.get("from") == f"{room}/{nick}"
            )
        )

    async def create(self, room: str, nick: str) -> None:
        """Make a room as the server makes them by default, and enter it."""
        await self.join(room, nick)
        owner = "http://jabber.org/protocol/muc#owner"
        form = "<x xmlns='jabber:x:data' type='submit'/>"
        await self.ask(f"<query xmlns='{owner}'>{form}</query>", to=room, kind="set")

    async def make_members(self, room: str, accounts: Iterable[str]) -> None:
        """Let others into our room: one by one, for Prosody reads one item only."""
        admin = "http://jabber.org/protocol/muc#admin"
        for account in accounts:
            item = f"<item affiliation='member' jid={quoteattr(account)}/>"
            query = f"<query xmlns='{admin}'>{item}</query>"
            await self.ask(query, to=room, kind="set")

    async def publish(
        self, node: str, payload: str, *, item: str = "current", max_items: str = "1"
    ) -> None:
        """Publish an item that everybody may read."""
        await self.ask(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
            f"<publish node={quoteattr(node)}><item id={quoteattr(item)}>{payload}"
            "</item></publish><publish-options><x xmlns='jabber:x:data' type='submit'>"
            "<field var='FORM_TYPE' type='hidden'><value>"
            "http://jabber.org/protocol/pubsub#publish-options</value></field>"
            "<field var='pubsub#access_model'><value>open</value></field>"
            f"<field var='pubsub#max_items'><value>{max_items}</value></field></x>"
            "</publish-options></pubsub>",
            kind="set",
        )

    async def _open(self) -> ET.Element:
        self._parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(["start", "end"])
        self._depth = 0
        self.send(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
            f"to={quoteattr(self.jid.domain)} from={quoteattr(self.jid)}>"
        )
        return await self.next()  # the features

    async def _log_in(self) -> None:
        """SCRAM-SHA-256 without channel binding (RFC 7677, RFC 5802 section 3)."""
        first = f"n={escape(self.jid.local)},r={secrets.token_urlsafe(12)}"
        self.send(
            f"<auth xmlns='{_SASL}' mechanism='SCRAM-SHA-256'>"
            f"{_encode(f'n,,{first}'.encode())}</auth>"
        )
        challenge = base64.b64decode((await self.next()).text or "").decode()
        answer = prove(self._password, first, challenge)
        self.send(f"<response xmlns='{_SASL}'>{_encode(answer)}</response>")
        outcome = await self.next()
        if outcome.tag != f"{{{_SASL}}}success":
            raise AssertionError(ET.tostring(outcome, encoding="unicode"))

    async def _read(self) -> None:
        data = await self._reader.read(_READ_BYTES)
        if not data:
            raise AssertionError("the server closed the stream")
        self.received_bytes += len(data)
        self._parser.feed(data)
        for event in self._parser.read_events():
            self._depth += 1 if event[0] == "start" else -1
            element = event[-1]
            if (
                event[0] == "end"
                and self._depth == 1
                and isinstance(element, ET.Element)
            ):
                self._waiting.append(element)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def prove(password: str, first: str, challenge: str) -> bytes:
    """Return what proves a password by SCRAM-SHA-256 (RFC 5802, section 3).

    Args:
        password: The password.
        first: What the client said first, without its header.
        challenge: What the server answered.
    """
    said = dict(part.split("=", 1) for part in challenge.split(","))
    salt, rounds = base64.b64decode(said["s"]), int(said["i"])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    key = hmac.digest(salted, b"Client Key", "sha256")
    last = f"c=biws,r={said['r']}"
    signed = f"{first},{challenge},{last}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
    return f"{last},p={_encode(proof)}".encode()
