"""An OMEMO device without XMPP: a backend, driven as the library drives it.

For tests and measurements of what is below :class:`xmpp_onion.e2ee.omemo.Omemo`:
the backend may be ours or the library's own, and so may the storage.
"""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from omemo.backend import Backend
from omemo.bundle import Bundle
from omemo.message import (
    Content,
    EncryptedKeyMaterial,
    KeyExchange,
    PlainKeyMaterial,
)
from omemo.session import Initiation, Session

from xmpp_onion.store import Database

__all__ = ["BareDevice", "Letter"]

_DEVICE_ID = 1


@dataclass(frozen=True, slots=True)
class Letter:
    """What travels for one device.

    Attributes:
        content: Encrypted; the same for all devices of a message.
        key: What opens it, encrypted for this one.
        exchange: What begins a session with the device, if it has none.
    """

    content: Content
    key: EncryptedKeyMaterial = field(repr=False)
    exchange: KeyExchange | None = None


class BareDevice:
    """One device, number 1 of a JID.

    Args:
        name: Its JID.
        backend: Ours or the library's.
        database: What the backend's storage is in, if writing needs transactions.
        keeps_spent: Whether used pre-keys are kept until
            :meth:`~omemo.backend.Backend.delete_hidden_pre_keys`.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        database: Database | None = None,
        *,
        keeps_spent: bool = False,
    ) -> None:
        self.name = name
        self.backend = backend
        self.keeps_spent = keeps_spent
        self._database = database

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Open a transaction of its store, if it has one."""
        return self._database.transaction() if self._database else nullcontext()

    async def prepare(self) -> Bundle:
        """Return its bundle, with fresh pre-keys or what is left of them."""
        async with self.transaction():
            if not await self.backend.get_num_visible_pre_keys():
                await self.backend.generate_pre_keys(100)
            return await self.backend.get_bundle(self.name, _DEVICE_ID)

    async def write(self, text: bytes, to: str, bundle: Bundle) -> Letter:
        """Encrypt, in a transaction; begin a session if there is none."""
        async with self.transaction():
            return await self.write_inside(text, to, bundle)

    async def write_inside(self, text: bytes, to: str, bundle: Bundle) -> Letter:
        """Encrypt in a transaction of the caller."""
        backend = self.backend
        content, plain = await backend.encrypt_plaintext(text)
        session = await backend.load_session(to, _DEVICE_ID)
        if session is None:
            session, key = await backend.build_session_active(
                to, _DEVICE_ID, bundle, plain
            )
        else:
            key = await backend.encrypt_key_material(session, plain)
        await backend.store_session(session)
        is_new = session.initiation is Initiation.ACTIVE and not session.confirmed
        return Letter(content, key, session.key_exchange if is_new else None)

    async def read(self, letter: Letter, sender: str) -> bytes:
        """Decrypt, in a transaction that a failure rolls back."""
        async with self.transaction():
            return await self.read_inside(letter, sender)

    async def read_inside(self, letter: Letter, sender: str) -> bytes:
        """Decrypt in a transaction of the caller."""
        backend = self.backend
        session, plain = await self._open(letter, sender)
        text = await backend.decrypt_plaintext(letter.content, plain)
        await backend.store_session(session)
        if letter.exchange is not None:
            use = backend.hide_pre_key if self.keeps_spent else backend.delete_pre_key
            if await use(session):
                left = await backend.get_num_visible_pre_keys()
                await backend.generate_pre_keys(100 - left)
        return text

    async def _open(
        self, letter: Letter, sender: str
    ) -> tuple[Session, PlainKeyMaterial]:
        backend = self.backend
        session = await backend.load_session(sender, _DEVICE_ID)
        if letter.exchange is not None and not (
            session is not None
            and session.initiation is Initiation.PASSIVE
            and session.key_exchange.builds_same_session(letter.exchange)
        ):
            return await backend.build_session_passive(
                sender, _DEVICE_ID, letter.exchange, letter.key
            )
        if session is None:
            raise ValueError("no session, and none is begun")
        return session, await backend.decrypt_key_material(session, letter.key)
