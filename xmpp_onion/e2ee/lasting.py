"""Sessions and pre-keys that last: what the library's backends throw away too soon.

Two devices may have taken the same pre-key while we were away; the library means
to keep a used one, but loads its keys anew for each message, and so forgets it
after the first.

When two devices write to each other for the first time at the same moment, each
begins a session and each takes the other's in its place. The library keeps one
session for a device, so from then on neither can read the other. libsignal keeps
the sessions that were replaced for a while, and so does this.

After a roll-back of the store its sessions are retired (:mod:`.epoch`): they decrypt,
and another one is begun to send with.
"""

import base64
from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import doubleratchet
import omemo
import x3dh
import xeddsa
from omemo.backend import Backend
from omemo.message import EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Initiation, Session

from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LIBRARY_ERRORS", "LastingBackend"]

LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    omemo.OMEMOException,
    x3dh.KeyAgreementException,
    xeddsa.XEdDSAException,
    doubleratchet.AuthenticationFailedException,
    doubleratchet.DecryptionFailedException,
    doubleratchet.DuplicateMessageException,
    ValueError,
)
"""The library's own errors, and what its parts raise on malformed keys."""

# Sessions kept for a device besides the one in use. libsignal keeps 40; a peer
# that begins more than this while our answer is on its way is broken.
_ARCHIVED = 4


SessionT = TypeVar("SessionT", bound=Session)
EncryptedT = TypeVar("EncryptedT", bound=EncryptedKeyMaterial)
PlainT = TypeVar("PlainT", bound=PlainKeyMaterial)
BundleT = TypeVar("BundleT", bound=omemo.Bundle)


class LastingBackend(Backend, Generic[SessionT, EncryptedT, PlainT, BundleT]):
    """What both backends have on top of the library's, for one store.

    Everything that writes is inside a transaction.

    Attributes:
        is_sending: Whether sessions are asked for to encrypt a message: retired
            ones are not there, then.
    """

    def _start(self, storage: KeyStorage, epoch: Epoch | None) -> None:
        """Do what a constructor does; the library's has another signature."""
        self.is_sending = False
        self._storage = storage
        self._epoch = epoch or Epoch(storage)
        self._in_use: dict[tuple[str, int], SessionT] = {}
        self._swapped: tuple[SessionT, SessionT] | None = None

    # --- what the library does, under names of its own ----------------------------

    @abstractmethod
    async def _load(self, bare_jid: str, device_id: int) -> SessionT | None:
        """Read a session from its place."""

    @abstractmethod
    async def _store(self, session: Session) -> None:
        """Write a session to its place."""

    @abstractmethod
    async def _begin(
        self,
        bare_jid: str,
        device_id: int,
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[SessionT, EncryptedT]:
        """Begin a session."""

    @abstractmethod
    async def _accept(
        self,
        bare_jid: str,
        device_id: int,
        key_exchange: KeyExchange,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[SessionT, PlainT]:
        """Accept a session that the other side began."""

    @abstractmethod
    async def _encrypt(
        self, session: Session, plain_key_material: PlainKeyMaterial
    ) -> EncryptedT:
        """Encrypt with a session."""

    @abstractmethod
    async def _decrypt(
        self, session: Session, encrypted_key_material: EncryptedKeyMaterial
    ) -> PlainT:
        """Decrypt with a session, which does not change if that fails."""

    @abstractmethod
    async def _bundle(self, bare_jid: str, device_id: int) -> BundleT:
        """Return our bundle with all pre-keys."""

    # --- what the library keeps private, by its types -----------------------------

    @abstractmethod
    def _own_type(self, session: Session) -> SessionT:
        """Return a session, which is of this backend."""

    @abstractmethod
    def _moved(self, session: SessionT, bare_jid: str) -> SessionT:
        """Return a session under another name, for another place."""

    @abstractmethod
    def _pre_key(self, session: Session) -> bytes | None:
        """Return the pre-key that a session was begun with."""

    @abstractmethod
    def _ephemeral_key(self, session: Session) -> bytes:
        """Return the ephemeral key of a session's key exchange, always another one."""

    @abstractmethod
    def _offered(self, whole: BundleT, spent: set[bytes]) -> BundleT:
        """Return a bundle without some pre-keys."""

    @abstractmethod
    def _pre_keys(self, bundle: BundleT) -> frozenset[bytes]:
        """Return the pre-keys of a bundle."""

    @abstractmethod
    def _state(self, stored: x3dh.types.JSONObject) -> x3dh.BaseState:
        """Return the key agreement's state from what the library stored."""

    @property
    @abstractmethod
    def _spent_place(self) -> str:
        """The key of the list of pre-keys that are used and kept."""

    def forget(self) -> None:
        """Forget what a roll-back may have undone."""
        self._in_use.clear()
        self._swapped = None

    async def load_session(self, bare_jid: str, device_id: int) -> SessionT | None:
        """Return the session in use with a device."""
        session = await self._load(bare_jid, device_id)
        self._swapped = None
        self._in_use.pop((bare_jid, device_id), None)
        if session is not None:
            self._in_use[bare_jid, device_id] = session
            if self.is_sending and await self.is_retired(session):
                return None
        return session

    async def name_session(self, bare_jid: str, device_id: int) -> str:
        """Return what tells the session in use from others; empty if there is none."""
        session = await self._load(bare_jid, device_id)
        return "" if session is None else _base64(self._ephemeral_key(session))

    async def store_session(self, session: Session) -> None:
        """Keep a session as the one in use, and the one that it replaces."""
        ours = self._own_type(session)
        key = (ours.bare_jid, ours.device_id)
        if await self._is_superseded(ours):
            await self._rewrite_archived(ours)
            return
        if self._swapped is not None and ours is self._swapped[0]:
            # The library still holds the session that turned out to be the old one.
            archived = await self._archive(*key)
            await self._write_archive([ours, *archived[1:]])
            ours = self._swapped[1]
        else:
            before = self._in_use.get(key)
            if before is not None and not _is_same(before, ours):
                await self._write_archive([before, *await self._archive(*key)])
        self._in_use[key] = ours
        await self._store(ours)

    async def build_session_active(
        self,
        bare_jid: str,
        device_id: int,
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[SessionT, EncryptedT]:
        """Begin a session; a malformed key fails this device, not the message."""
        try:
            session, material = await self._begin(
                bare_jid, device_id, bundle, plain_key_material
            )
        except LIBRARY_ERRORS as cause:
            raise omemo.KeyExchangeFailed("the bundle cannot be used") from cause
        await self._note_begun(session)
        return session, material

    async def build_session_passive(
        self,
        bare_jid: str,
        device_id: int,
        key_exchange: KeyExchange,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[SessionT, PlainT]:
        """Accept a session, or find it among those that were replaced."""
        archived = await self._archive(bare_jid, device_id)
        for session in archived:
            if session.initiation is Initiation.PASSIVE and (
                session.key_exchange.builds_same_session(key_exchange)
            ):
                material = await self._decrypt(session, encrypted_key_material)
                if await self._is_superseded(session):
                    return session, material
                rest = [other for other in archived if other is not session]
                before = self._in_use.pop((bare_jid, device_id), session)
                await self._write_archive([before, *rest])
                return session, material
        session, material = await self._accept(
            bare_jid, device_id, key_exchange, encrypted_key_material
        )
        await self._note_begun(session)
        return session, material

    async def encrypt_key_material(
        self, session: Session, plain_key_material: PlainKeyMaterial
    ) -> EncryptedT:
        """Encrypt with a session; whether it may leave is for the epoch to say."""
        self._epoch.is_mute = await self.is_retired(session)
        return await self._encrypt(session, plain_key_material)

    async def decrypt_key_material(
        self, session: Session, encrypted_key_material: EncryptedKeyMaterial
    ) -> PlainT:
        """Decrypt with the session in use, or with one that was replaced.

        The one that fits is in use from then on, so that both sides end up with
        the same. A session that does not fit is not changed by the attempt.
        """
        try:
            return await self._decrypt(session, encrypted_key_material)
        except omemo.DecryptionFailed as failure:
            if isinstance(failure.__cause__, doubleratchet.DuplicateMessageException):
                raise
            current = self._own_type(session)
            archived = await self._archive(current.bare_jid, current.device_id)
            for old in archived:
                try:
                    material = await self._decrypt(old, encrypted_key_material)
                except omemo.DecryptionFailed:
                    continue
                if await self._is_superseded(old):
                    await self._rewrite_archived(old)
                    return material
                rest = [other for other in archived if other is not old]
                await self._write_archive([current, *rest])
                self._swapped = (current, old)
                return material
            raise

    # --- sessions that an old copy of the store brought back ----------------------

    async def _note_begun(self, session: SessionT) -> None:
        self._epoch.is_mute = False
        await self._epoch.note(
            self._place_of(session.bare_jid, session.device_id),
            self._ephemeral_key(session),
        )

    async def is_retired(self, session: Session) -> bool:
        """Tell whether a session must not be sent with."""
        return await self._epoch.is_retired(
            self._place_of(session.bare_jid, session.device_id),
            self._ephemeral_key(session),
        )

    async def _is_superseded(self, session: SessionT) -> bool:
        """Tell whether a session is retired, and another one is in use instead."""
        if not await self.is_retired(session):
            return False
        current = await self._load(session.bare_jid, session.device_id)
        return current is not None and not await self.is_retired(current)

    async def _rewrite_archived(self, session: SessionT) -> None:
        """Keep what has become of a session that was replaced, where it is."""
        archived = await self._archive(session.bare_jid, session.device_id)
        await self._write_archive(
            [session if _is_same(session, other) else other for other in archived]
        )

    def _place_of(self, bare_jid: str, device_id: int) -> str:
        return f"{self.namespace}/{bare_jid}/{device_id}"

    async def renew_pre_keys(self) -> None:
        """Make all that we offer new; what we offered is kept for what comes late."""
        offered = self._pre_keys(await self.get_bundle("", 0))
        await self._write_spent([*await self._spent(), *sorted(offered)])
        await self.generate_pre_keys(len(offered))
        await self.rotate_signed_pre_key()

    # --- pre-keys while an archive is read ----------------------------------------

    async def hide_pre_key(self, session: Session) -> bool:
        """Keep a used pre-key, but offer it to nobody; True if it was offered."""
        pre_key = self._pre_key(session)
        offered = await self.get_bundle(session.bare_jid, session.device_id)
        if pre_key is None or pre_key not in self._pre_keys(offered):
            return False
        await self._write_spent([*await self._spent(), pre_key])
        return True

    async def delete_hidden_pre_keys(self) -> None:
        """Delete the used pre-keys that were kept."""
        spent = await self._spent()
        if not spent:
            return
        place = f"/{self.namespace}/x3dh"
        stored = (await self._storage.load(place)).from_just()
        state = self._state(cast("x3dh.types.JSONObject", stored))
        for pre_key in spent:
            state.delete_pre_key(pre_key)
        await self._storage.store(place, state.json)
        await self._storage.delete(self._spent_place)

    async def get_num_visible_pre_keys(self) -> int:
        """Return how many pre-keys are offered."""
        offered = await self.get_bundle("", 0)
        return len(self._pre_keys(offered))

    async def get_bundle(self, bare_jid: str, device_id: int) -> BundleT:
        """Return our bundle, without the pre-keys that are used."""
        whole = await self._bundle(bare_jid, device_id)
        spent = set(await self._spent())
        return self._offered(whole, spent) if spent else whole

    async def _spent(self) -> list[bytes]:
        found = (await self._storage.load_list(self._spent_place, str)).maybe([])
        return [base64.b64decode(text) for text in found]

    async def _write_spent(self, pre_keys: Sequence[bytes]) -> None:
        await self._storage.store(self._spent_place, [*map(_base64, pre_keys)])

    # --- sessions that were replaced ----------------------------------------------

    async def _archive(self, bare_jid: str, device_id: int) -> list[SessionT]:
        """Return the sessions that were replaced, the newest first."""
        archived = []
        for slot in range(_ARCHIVED):
            place = _place(bare_jid, slot)
            session = await self._load(place, device_id)
            if session is not None:
                archived.append(self._moved(session, bare_jid))
        return archived

    async def _write_archive(self, sessions: Sequence[SessionT]) -> None:
        """Keep sessions that were replaced; never fewer than before."""
        for slot, session in enumerate(sessions[:_ARCHIVED]):
            await self._store(self._moved(session, _place(session.bare_jid, slot)))


def _is_same(one: Session, other: Session) -> bool:
    return one.initiation is other.initiation and (
        one.key_exchange.builds_same_session(other.key_exchange)
    )


def _place(bare_jid: str, slot: int) -> str:
    """Return where the library's records of an archived session are kept."""
    return f"{bare_jid}/archive/{slot}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
