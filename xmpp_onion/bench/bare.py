"""What an ordinary careful author writes on bare slixmpp and slixmpp-omemo.

The libraries' own examples, plus what an onion needs: a dial through SOCKS by name,
no DNS, the server's certificate pinned, SCRAM only. It is here to be measured beside
ours, not to be copied: it loses messages where ours does not.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import slixmpp
from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import DeviceInformation, JSONType
from slixmpp.plugins.base import register_plugin
from slixmpp.stanza import Message
from slixmpp_omemo import XEP_0384, TrustLevel

from xmpp_onion.address import OnionAddress
from xmpp_onion.bench.peers import Login, Peer
from xmpp_onion.errors import TorError
from xmpp_onion.transport import Isolation, Purpose, Tor

__all__ = ["BareClient", "bare"]

_PLUGINS = (
    "xep_0030",  # service discovery
    "xep_0198",  # stream management
    "xep_0199",  # ping
    "xep_0280",  # carbons
    "xep_0334",  # hints
    "xep_0359",  # stanza ids
    "xep_0380",  # explicit encryption
)


class JSONStorage(Storage):
    """The storage of the libraries' examples: one JSON file, written each time.

    Args:
        path: The file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._data: dict[str, JSONType] = {}
        if path.exists():
            self._data = json.loads(path.read_text("utf-8"))

    async def _load(self, key: str) -> Maybe[JSONType]:
        return Just(self._data[key]) if key in self._data else Nothing()

    async def _store(self, key: str, value: JSONType) -> None:
        self._data[key] = value
        self._path.write_text(json.dumps(self._data), "utf-8")

    async def _delete(self, key: str) -> None:
        self._data.pop(key, None)
        self._path.write_text(json.dumps(self._data), "utf-8")


class BareOmemo(XEP_0384):
    """Blind trust before verification, as the libraries' examples choose it."""

    default_config = {  # noqa: RUF012 - slixmpp's way to declare options
        "fallback_message": "This message is OMEMO encrypted.",
        "json_file_path": None,
    }

    def plugin_init(self) -> None:
        """Open the storage before the library asks for it."""
        self._kept = JSONStorage(Path(str(self.json_file_path)))
        super().plugin_init()

    @property
    def storage(self) -> Storage:
        """Where keys are."""
        return self._kept

    @property
    def _btbv_enabled(self) -> bool:
        return True

    async def _prompt_manual_trust(
        self, manually_trusted: frozenset[DeviceInformation], identifier: str | None
    ) -> None:
        del identifier
        manager = await self.get_session_manager()
        for device in manually_trusted:
            await manager.set_trust(
                device.bare_jid, device.identity_key, TrustLevel.TRUSTED.value
            )


register_plugin(BareOmemo)


class BareClient(slixmpp.ClientXMPP):
    """One account; use :meth:`log_in`, :meth:`say`, :meth:`hear`, :meth:`leave`.

    Args:
        jid: The account, bare.
        password: Of the account.
        tor: Dials.
        certificate: The file with the server's, in PEM.
        store: The JSON file with the keys.
    """

    def __init__(
        self, jid: str, password: str, *, tor: Tor, certificate: Path, store: Path
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificate)
        scram = {"use_mechs": ["SCRAM-SHA-256", "SCRAM-SHA-1"]}
        super().__init__(
            f"{jid}/bare",
            password,
            ssl_context=context,
            plugin_config={"feature_mechanisms": scram},
        )
        self._tor = tor
        self.enable_direct_tls = False
        self.enable_starttls = True
        self.enable_plaintext = False
        self.use_message_ids = True
        for plugin in _PLUGINS:
            self.register_plugin(plugin)
        self.register_plugin("xep_0384", {"json_file_path": str(store)})
        self._received: asyncio.Queue[str] = asyncio.Queue()
        self._present = asyncio.Event()
        self._can_encrypt = asyncio.Event()
        self.add_event_handler("session_start", self._start)
        self.add_event_handler("message", self._read)
        self.add_event_handler("omemo_initialized", lambda _: self._can_encrypt.set())

    async def log_in(self) -> None:
        """Return when the session has begun and OMEMO is ready."""
        self.connect(self.boundjid.host, 5222)
        await self._present.wait()
        await self._can_encrypt.wait()

    async def say(self, to: str, text: str) -> None:
        """Encrypt and write; the libraries offer no wait for the server's ack."""
        message = self.make_message(mto=slixmpp.JID(to), mbody=text, mtype="chat")
        message["id"] = self.new_id()
        encrypted, _ = await self._omemo.encrypt_message(message, {slixmpp.JID(to)})
        assert encrypted is not None  # noqa: S101 - nobody to encrypt for
        encrypted.send()

    async def say_in_room(self, room: str, members: Collection[str], text: str) -> None:
        """Say something in a room; the libraries have to be told who is in it."""
        message = self.make_message(
            mto=slixmpp.JID(room), mbody=text, mtype="groupchat"
        )
        message["id"] = self.new_id()
        encrypted, errors = await self._omemo.encrypt_message(
            message, {slixmpp.JID(member) for member in members}
        )
        assert encrypted is not None, errors  # noqa: S101 - nobody to encrypt for
        encrypted.send()

    async def say_to_all(self, recipients: Sequence[str], text: str) -> None:
        """Say the same to each; the libraries do one encryption at a time."""
        for to in recipients:
            await self.say(to, text)

    async def pile_up(self, to: str, count: int) -> None:
        """Say ``count`` things, and wait until the server has answered after them."""
        for number in range(count):
            await self.say(to, f"text {number}")
        await self.get_roster()

    async def hear(self) -> str:
        """Return the next decrypted text."""
        return await self._received.get()

    async def leave(self) -> None:
        """Close the stream."""
        await self.disconnect()

    @property
    def _omemo(self) -> XEP_0384:
        # slixmpp's types know the plugins that it brings itself, and no others.
        return cast("dict[str, XEP_0384]", self.plugin)["xep_0384"]

    async def _start(self, _: object) -> None:
        self.send_presence()
        await self.get_roster()
        self._present.set()

    async def _read(self, message: Message) -> None:
        is_own = message["type"] == "groupchat"  # in rooms it only writes
        if not is_own and self._omemo.is_encrypted(message):
            decrypted, _ = await self._omemo.decrypt_message(message)
            if decrypted["body"]:
                self._received.put_nowait(decrypted["body"])

    async def get_dns_records(
        self, domain: str, port: int | None = None
    ) -> list[tuple[str, str, str, int]]:
        """Refuse: a query would leave Tor."""
        raise RuntimeError(f"no DNS for {domain}:{port}")

    async def _attempt_connection(
        self,
        host: str,
        port: int,
        tls: bool,  # noqa: FBT001 - slixmpp's signature
        server_hostname: str | None,
    ) -> bool:
        """Dial through SOCKS by name; slixmpp has no such option."""
        del tls, server_hostname
        self.event_when_connected = "connected"
        if self._current_connection_attempt is None:
            return False
        try:
            sock = await self._tor.dial(
                OnionAddress(host),
                port,
                isolation=Isolation(self.boundjid.bare, Purpose.XMPP),
            )
        except TorError as error:
            self.event("connection_failed", error)
            return False
        await self.loop.create_connection(lambda: self, sock=sock)
        return True


@asynccontextmanager
async def bare(login: Login) -> AsyncIterator[Peer]:
    """Log in with the bare libraries."""
    async with Tor.attach(login.socks) as tor:
        client = BareClient(
            login.jid,
            login.password,
            tor=tor,
            certificate=next(login.server.folder.path.glob("prosody/certs/*.crt")),
            store=login.folder / "omemo.json",
        )
        try:
            await client.log_in()
            yield client
        finally:
            await client.leave()
