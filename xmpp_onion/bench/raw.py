"""The floor: hand-written stanzas on a socket, and nothing that needs no network.

A login is one write with the dial, a first message three flights, a page of an archive
one. What is published and said has the size that OMEMO gives it; it is no OMEMO, and
whoever "decrypts" it takes the text out again. It trusts what it is told and loses
what a broken connection holds: it shows what the protocol allows, not what a client may
do.

Source: XEP-0388, XEP-0386, XEP-0484 (login); XEP-0060 (lists, bundles); XEP-0313.
"""

import asyncio
import base64
import hmac
import json
import secrets
import uuid
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.bench.peers import Login, Peer
from xmpp_onion.errors import BenchmarkError
from xmpp_onion.testing.light_member import prove
from xmpp_onion.transport import Isolation, Purpose, Tor

__all__ = ["RawClient", "raw"]

_OMEMO: Final = "eu.siacs.conversations.axolotl"
_LIST: Final = f"{_OMEMO}.devicelist"
_SASL2: Final = "{urn:xmpp:sasl:2}"
_MAM: Final = "{urn:xmpp:mam:2}"
_CLIENT: Final = "{jabber:client}"
_TOKEN: Final = "HT-SHA-256-NONE"  # noqa: S105 - a name
_BUNDLE_BYTES: Final = 2600  # of 25 pre-keys in the older version, as ours
_KEY_BYTES: Final = 120
_PAGE: Final = 1000  # what our server gives at once
_READ_BYTES: Final = 64 * 1024
_PATIENCE: Final = 60.0
_ENABLE: Final = "<enable xmlns='urn:xmpp:sm:3'/>"
_PUBSUB: Final = "http://jabber.org/protocol/pubsub"


@asynccontextmanager
async def raw(login: Login) -> AsyncIterator[Peer]:
    """Log in by hand."""
    async with Tor.attach(login.socks) as tor, asyncio.TaskGroup() as tasks:
        client = RawClient(login.jid, login.password, tor, login.folder / "raw.json")
        await client.connect()
        reading = tasks.create_task(client.read())
        try:
            await client.log_in()
            yield client
        finally:
            client.close()
            reading.cancel()


class RawClient:
    """One session.

    Args:
        jid: The account.
        password: Its password.
        tor: The way.
        memory: Where it keeps its device and its token between two sessions.
    """

    def __init__(self, jid: JID, password: str, tor: Tor, memory: Path) -> None:
        self._jid = jid.bare
        self._password = password
        self._tor = tor
        self._memory = memory
        self._known: dict[str, str] = {}
        if memory.exists():
            self._known = json.loads(memory.read_text(encoding="utf-8"))
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[ET.Element]] = {}
        self._steps: asyncio.Queue[ET.Element] = asyncio.Queue()
        self._bundles: dict[str, list[str]] = {}
        self._nonce = f"n={self._jid.local},r={secrets.token_urlsafe(12)}"
        self._writer: asyncio.StreamWriter
        self._reader: asyncio.StreamReader

    async def connect(self) -> None:
        """Dial, and say with it all that can be said."""
        self._known.setdefault("agent", str(uuid.uuid4()))
        is_first = "token" not in self._known
        first = self._header() + self._authenticate()
        loop = asyncio.get_running_loop()
        if not is_first:
            first += _ENABLE + self._ask(self._items(_LIST)) + self._next_page()
            first += "<presence/>"
        sock = await self._tor.dial(
            OnionAddress(self._jid.domain),
            5222,
            isolation=Isolation(self._jid, Purpose.XMPP),
            first=first.encode(),
        )
        self._reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)

    async def log_in(self) -> None:
        """Return when logged in, with a device that was published."""
        step = await self._step()
        if step.tag == f"{_SASL2}challenge":
            first = base64.b64decode(step.text or "").decode()
            answer = prove(self._password, self._nonce, first)
            self._send(
                f"<response xmlns='urn:xmpp:sasl:2'>{_encode(answer)}</response>"
                f"{_ENABLE}<presence/>{self._ask(self._items(_LIST))}"
            )
            step = await self._step()
        if step.tag != f"{_SASL2}success":
            raise BenchmarkError("the server does not let the raw client in")
        token = step.find("{urn:xmpp:fast:0}token")
        if token is not None:
            self._known["token"] = token.get("token", "")
        await self._answer()
        if "device" not in self._known:
            await self._publish()
        self._memory.write_text(json.dumps(self._known), encoding="utf-8")

    async def read(self) -> None:
        """Take in what comes until the stream ends."""
        parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(["start", "end"])
        depth = 0
        while data := await self._reader.read(_READ_BYTES):
            parser.feed(data)
            for event in parser.read_events():
                depth += 1 if event[0] == "start" else -1
                element = event[-1]
                if event[0] == "end" and depth == 1 and isinstance(element, ET.Element):
                    self._take(element)

    def close(self) -> None:
        """End it."""
        self._writer.close()

    # --- a peer ---------------------------------------------------------------------

    async def say(self, to: str, text: str) -> None:
        """Send to one, whose keys are fetched the first time."""
        await self.say_to_all([to], text)

    async def say_to_all(self, recipients: Sequence[str], text: str) -> None:
        """Send to all: their lists in a flight, their bundles in the next."""
        new = [to for to in recipients if to not in self._bundles]
        for to in new:
            self._send(self._ask(self._items(_LIST), to, about=to))
        lists = {to: await self._answer(to) for to in new}
        devices = {to: _devices(answer) for to, answer in lists.items()}
        for to, found in devices.items():
            for device in found:
                node = f"{_OMEMO}.bundles:{device}"
                self._send(self._ask(self._items(node), to, about=f"{to} {device}"))
        for to, found in devices.items():
            for device in found:
                await self._answer(f"{to} {device}")
            self._bundles[to] = found
        messages = "".join(self._message(to, text) for to in recipients)
        self._send(f"{messages}<r xmlns='urn:xmpp:sm:3'/>")

    async def pile_up(self, to: str, count: int) -> None:
        """Send many, and return when the server has them."""
        for number in range(count):
            await self.say(to, f"text {number}")
        self._send(self._ask(self._items(_LIST)))
        await self._answer()

    async def hear(self) -> str:
        """Return the next text."""
        async with asyncio.timeout(_PATIENCE):
            return await self._texts.get()

    # --- what is written ----------------------------------------------------------

    def _header(self) -> str:
        return (
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' "
            "xmlns:stream='http://etherx.jabber.org/streams' "
            f"to={quoteattr(self._jid.domain)} from={quoteattr(self._jid)}>"
        )

    def _authenticate(self) -> str:
        mechanism, first, more = "SCRAM-SHA-256", f"n,,{self._nonce}".encode(), ""
        more = f"<request-token xmlns='urn:xmpp:fast:0' mechanism='{_TOKEN}'/>"
        if token := self._known.get("token"):
            mechanism, more = _TOKEN, f"{more}<fast xmlns='urn:xmpp:fast:0'/>"
            proof = hmac.digest(token.encode(), b"Initiator", "sha256")
            first = self._jid.local.encode() + b"\0" + proof
        return (
            f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>"
            f"<initial-response>{_encode(first)}</initial-response>"
            f"<user-agent id='{self._known['agent']}'/>{more}"
            "<bind xmlns='urn:xmpp:bind:0'><tag>raw</tag></bind></authenticate>"
        )

    def _ask(
        self, payload: str, to: str = "", *, about: str = "", kind: str = "get"
    ) -> str:
        """Return a question; `_answer` of the same waits for what comes."""
        self._answers[about] = asyncio.get_running_loop().create_future()
        to = to and f" to={quoteattr(to)}"
        return f"<iq type='{kind}' id={quoteattr(f'q {about}')}{to}>{payload}</iq>"

    def _items(self, node: str) -> str:
        return f"<pubsub xmlns='{_PUBSUB}'><items node='{node}'/></pubsub>"

    def _message(self, to: str, text: str) -> str:
        keys = "".join(
            f"<key rid='{device}'>{_filling(_KEY_BYTES)}</key>"
            for device in self._bundles[to]
        )
        return (
            f"<message type='chat' to={quoteattr(to)} id='{secrets.token_hex(8)}'>"
            f"<encrypted xmlns='{_OMEMO}'><header sid='{self._known['device']}'>{keys}"
            f"<iv>{_filling(12)}</iv></header><payload>{_encode(text.encode())}"
            "</payload></encrypted><store xmlns='urn:xmpp:hints'/></message>"
        )

    def _next_page(self, after: str = "") -> str:
        """Return the question for what the archive got behind ``after``."""
        after = after or self._known.get("cursor", "")
        after = after and f"<after>{after}</after>"
        return self._ask(
            "<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>"
            f"<max>{_PAGE}</max>{after}</set></query>",
            about="archive",
            kind="set",
        )

    async def _publish(self) -> None:
        """Publish a device, list and bundle at once."""
        device = self._known["device"] = str(1 + secrets.randbelow(2**31 - 1))
        told = f"<list xmlns='{_OMEMO}'><device id='{device}'/></list>"
        bundle = f"<bundle xmlns='{_OMEMO}'>{_filling(_BUNDLE_BYTES)}</bundle>"
        self._send(
            self._publishing(f"{_OMEMO}.bundles:{device}", bundle, about="bundle")
            + self._publishing(_LIST, told, about="list")
        )
        await self._answer("bundle")
        await self._answer("list")

    def _publishing(self, node: str, payload: str, *, about: str) -> str:
        return self._ask(
            f"<pubsub xmlns='{_PUBSUB}'><publish node='{node}'><item id='current'>"
            f"{payload}</item></publish><publish-options>"
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' "
            f"type='hidden'><value>{_PUBSUB}#publish-options</value></field>"
            "<field var='pubsub#access_model'><value>open</value></field></x>"
            "</publish-options></pubsub>",
            about=about,
            kind="set",
        )

    def _send(self, text: str) -> None:
        self._writer.write(text.encode())

    # --- what is read ---------------------------------------------------------------

    async def _step(self) -> ET.Element:
        async with asyncio.timeout(_PATIENCE):
            return await self._steps.get()

    async def _answer(self, about: str = "") -> ET.Element:
        async with asyncio.timeout(_PATIENCE):
            return await self._answers[about]

    def _take(self, stanza: ET.Element) -> None:
        if stanza.tag.startswith(_SASL2):
            self._steps.put_nowait(stanza)
        elif stanza.tag == f"{_CLIENT}message":
            self._hear(stanza)
        elif stanza.tag == f"{_CLIENT}iq":
            about = stanza.get("id", "").removeprefix("q ")
            if stanza.find(f"{_MAM}fin") is not None:
                self._turn_page(stanza)
            elif (waiting := self._answers.get(about)) and not waiting.done():
                waiting.set_result(stanza)

    def _hear(self, stanza: ET.Element) -> None:
        """Take the text of what came from the archive, or lives; not twice."""
        result = stanza.find(f"{_MAM}result")
        is_old = stanza.find("{urn:xmpp:delay}delay") is not None
        inner = stanza
        if result is not None:
            inner = next(result.iter(f"{_CLIENT}message"), stanza)
        if inner.get("from", "").startswith(self._jid) or (is_old and result is None):
            return  # what we said; and the offline store says again what is archived
        payload = next(inner.iter(f"{{{_OMEMO}}}payload"), None)
        if payload is None:
            return
        self._texts.put_nowait(base64.b64decode(payload.text or "").decode())

    def _turn_page(self, stanza: ET.Element) -> None:
        """Ask for the next page, if there is one."""
        last = next(stanza.iter("{http://jabber.org/protocol/rsm}last"), None)
        fin = stanza.find(f"{_MAM}fin")
        if last is None or fin is None:
            return
        self._known["cursor"] = last.text or ""
        if fin.get("complete") != "true":
            self._send(self._next_page(last.text or ""))


def _devices(answer: ET.Element) -> list[str]:
    return [each.get("id", "") for each in answer.iter(f"{{{_OMEMO}}}device")]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _filling(size_bytes: int) -> str:
    """Return what takes as much space as a key of so many bytes."""
    return _encode(secrets.token_bytes(size_bytes))
