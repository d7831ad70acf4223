"""The same work with ours: all of it that a message takes, but for the network.

From a text to the ``<encrypted/>`` elements and back: the devices and what is decided
about them, the ratchet, the envelope, the elements, and one transaction.
"""

from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.e2ee import Omemo, Plain, SendEmpty, Trust
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.fake_pep import FakePep, FakePepServer
from xmpp_onion.testing.omemo_peer import ONION

__all__ = ["MemoryKeys", "Work"]

Message = tuple[tuple[ET.Element, ...], JID]


class MemoryKeys(Keys):
    """Our rows without a file."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        return self.rows.get(key)

    async def store(self, key: str, text: str) -> None:
        self.rows[key] = text

    async def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    async def names(self, prefix: str) -> list[str]:
        return [key for key in self.rows if key.startswith(prefix)]


class _Device:
    """A device of ours."""

    def __init__(self, jid: JID, work: "Work", omemo: Omemo, database: Database):
        self.name = jid
        self.database = database
        self._work = work
        self._omemo = omemo

    def _transaction(self):
        return nullcontext() if self._work.in_memory else self.database.transaction()

    async def learn(self, name: JID) -> None:
        await self._omemo.fetch([name])
        async with self._transaction():
            await self._omemo.keyring.devices(name)

    async def encrypt(self, name: JID, text: str) -> Message:
        async with self._transaction():
            encrypted = await self._omemo.encrypt(name, Plain(text))
            self._omemo.take_effects()
        assert not encrypted.skipped
        return encrypted.elements, self.name

    async def decrypt(self, message: Message) -> str | None:
        elements, sender = message
        async with self._transaction():
            decrypted = await self._omemo.decrypt(elements, sender)
            effects = self._omemo.take_effects()
        for effect in effects:
            if isinstance(effect, SendEmpty):
                self._work.answers.append((effect.element, self.name))
        return decrypted.plain and decrypted.plain.text

    async def know(self, message: Message) -> None:
        """Fetch what there is to know of a sender; not measured."""
        await self._omemo.fetch_sender(*message)

    async def write_row(self) -> None:
        """Do what costs the same without any encryption: one row, one commit."""
        async with self.database.transaction():
            await self.database.execute(
                "INSERT INTO keys (key, text) VALUES ('row', hex(randomblob(200)))"
                " ON CONFLICT (key) DO UPDATE SET text = excluded.text"
            )


class Work:
    """Devices of ours, and the server between them.

    Args:
        namespace: The OMEMO version that they see of each other.
        folder: For their files.
        in_memory: Whether what is measured touches none of them.
    """

    def __init__(self, namespace: str, folder: Path, *, in_memory: bool) -> None:
        self.in_memory = in_memory
        self.answers: list[tuple[str, JID]] = []
        self._server = FakePepServer(versions=(namespace,))
        self._folder = folder
        self._stack = AsyncExitStack()
        self._count = 0

    async def __aenter__(self) -> "Work":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def device(self, name: str) -> _Device:
        self._count += 1
        jid, path = JID(f"{name}@{ONION}"), self._folder / str(self._count)
        opening = Database.open(path / "store.db", witness=path / "witness")
        database = await self._stack.enter_async_context(opening)
        keys = MemoryKeys() if self.in_memory else Keys(database)
        omemo = Omemo(jid, keys, FakePep(jid, self._server), policy=Trust.BTBV)
        await omemo.prepare(database)
        async with database.transaction():
            omemo.take_effects()
        return _Device(jid, self, omemo, database)

    async def answer(self, to: _Device) -> None:
        """Let the readers' answers arrive, so that their sessions are confirmed."""
        for element, sender in self.answers:
            message = (ET.fromstring(element),), sender  # noqa: S314 - our own text
            await to.decrypt(message)
        self.answers.clear()
