"""Decrypts a content with the session of its sender, and keeps what that changes.

The library's session manager does the same, but reads every device record of the
sender several times for each message, writes log texts that nobody reads, and makes
every answer, also those that are not sent.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import omemo
from omemo.message import PlainKeyMaterial
from omemo.session import Initiation, Session
from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.parcel import Parcel
from xmpp_onion.e2ee.session_manager import Door
from xmpp_onion.e2ee.writer import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Opened", "Receiver"]

_NotedT = TypeVar("_NotedT", str, int)


class Opened(NamedTuple):
    """What became of a parcel.

    Attributes:
        content: What was inside; None if it only carried keys.
        answer_with: The session to answer with, if the sender wants an answer: an
            empty message, which tells that the session stands or turns the ratchet.
    """

    content: bytes | None
    answer_with: Session | None


class Receiver:
    """The receiving side of this device. Everything here is inside a transaction.

    Args:
        own: Our account, bare.
        device: This device.
        door: Where what the network has to do is noted.
    """

    def __init__(self, own: JID, device: OwnDevice, door: Door) -> None:
        self._own = own
        self._device = device
        self._backends: Mapping[str, Backend] = device.backends
        self._door = door

    async def open(self, parcel: Parcel, sender: omemo.DeviceInformation) -> Opened:
        """Decrypt a parcel; store its session, and renew the pre-key that it used.

        Raises:
            omemo.SenderDistrusted: A person said so.
            omemo.PublicDataInconsistency: It begins a session with another identity
                key than the sender's.
            omemo.NoSession: It begins no session, and there is none.
            omemo.KeyExchangeFailed: The session cannot be begun.
            omemo.DecryptionFailed: Its keys do not fit, or it is a duplicate.
        """
        if self._door.level(sender) is omemo.TrustLevel.DISTRUSTED:
            raise omemo.SenderDistrusted("the sender's device is distrusted")
        backend, exchange = self._backends[parcel.namespace], parcel.exchange
        if exchange is not None and exchange.identity_key != sender.identity_key:
            raise omemo.PublicDataInconsistency("another identity key than before")
        session, material = await self._take(backend, parcel, sender)
        content = None
        if not parcel.content.empty:
            content = await backend.decrypt_plaintext(parcel.content, material)
        await backend.store_session(session)
        if exchange is not None:
            await self._use_up_pre_key(backend, session)
        elif not _is_stale(session):
            return Opened(content, None)
        if self._device.is_reading_history:
            await self._answer_later(session)
            return Opened(content, None)
        return Opened(content, session)

    async def answer(self, session: Session) -> None:
        """Send a message that carries only keys. What to send is an effect."""
        backend = self._backends[session.namespace]
        content, material = await backend.encrypt_empty()
        key = await backend.encrypt_key_material(session, material)
        is_new = session.initiation is Initiation.ACTIVE and not session.confirmed
        keys = frozenset({(key, session.key_exchange if is_new else None)})
        message = omemo.Message(
            session.namespace, self._own, self._device.device_id, content, keys
        )
        self._door.send_empty(message, session.bare_jid)
        await backend.store_session(session)

    async def _take(
        self, backend: Backend, parcel: Parcel, sender: omemo.DeviceInformation
    ) -> tuple[Session, PlainKeyMaterial]:
        """Decrypt the key with the session in use, or with the one that it begins."""
        jid, number = sender.bare_jid, sender.device_id
        session: Session | None = await backend.load_session(jid, number)
        if parcel.exchange is None:
            if session is None:
                raise omemo.NoSession("there is no session, and none is begun")
            return session, await backend.decrypt_key_material(session, parcel.key)
        if (
            session is not None
            and session.initiation is Initiation.PASSIVE
            and session.key_exchange.builds_same_session(parcel.exchange)
        ):
            return session, await backend.decrypt_key_material(session, parcel.key)
        return await backend.build_session_passive(
            jid, number, parcel.exchange, parcel.key
        )

    async def _use_up_pre_key(self, backend: Backend, session: Session) -> None:
        """Offer a pre-key no longer, and another in its place."""
        if await backend.hide_pre_key(session):
            await backend.generate_pre_keys(1)
            await self._door.upload_bundle(backend.namespace)

    async def _answer_later(self, session: Session) -> None:
        """Note where the library looks for answers when the history was read."""
        place = f"/queue/{session.namespace}"
        await self._note(place, session.bare_jid, str)
        await self._note(f"{place}/{session.bare_jid}", session.device_id, int)

    async def _note(self, place: str, noted: _NotedT, kind: type[_NotedT]) -> None:
        """Put something on a list; nearly always, in an archive, it is there."""
        storage = self._door.storage
        there: list[_NotedT] = (await storage.load_list(place, kind)).maybe([])
        if noted not in there:
            await storage.store(place, [*there, noted])


def _is_stale(session: Session) -> bool:
    """Tell whether the sender has written so much that the ratchet should turn."""
    received = session.receiving_chain_length or 0
    return received > SessionManager.STALENESS_MAGIC_NUMBER
