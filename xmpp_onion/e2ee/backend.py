"""The library's OMEMO backend, made to survive two sides that begin at once.

It also keeps used pre-keys while an archive is read. Two devices may have taken the
same one while we were away; the library means to keep it, but loads its keys anew
for each message, and so forgets it after the first.

When two devices write to each other for the first time at the same moment, each
begins a session and each takes the other's in its place. The library keeps one
session for a device, so from then on neither can read the other. libsignal keeps
the sessions that were replaced for a while, and so does this.
"""

import base64
from collections.abc import Sequence
from typing import cast

import doubleratchet
import omemo
import x3dh
import xeddsa
from oldmemo.oldmemo import (
    NAMESPACE,
    BundleImpl,
    EncryptedKeyMaterialImpl,
    Oldmemo,
    PlainKeyMaterialImpl,
    SessionImpl,
    StateImpl,
)
from omemo.message import EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Initiation, Session

from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LIBRARY_ERRORS", "LocalOldmemo"]

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

_SPENT = "/xmpp-onion/spent-pre-keys"
"""The pre-keys that are used and kept until the archive is read."""

_STATE = f"/{NAMESPACE}/x3dh"
"""Where the library keeps its pre-keys."""


class LocalOldmemo(Oldmemo):
    """The backend for one store. Everything that writes is inside a transaction."""

    def __init__(self, storage: KeyStorage) -> None:
        super().__init__(storage)
        self._storage = storage
        self._in_use: dict[tuple[str, int], SessionImpl] = {}
        self._swapped: tuple[SessionImpl, SessionImpl] | None = None

    def forget(self) -> None:
        """Forget what a roll-back may have undone."""
        self._in_use.clear()
        self._swapped = None

    async def load_session(self, bare_jid: str, device_id: int) -> SessionImpl | None:
        """Return the session in use with a device."""
        session = await super().load_session(bare_jid, device_id)
        self._swapped = None
        self._in_use.pop((bare_jid, device_id), None)
        if session is not None:
            self._in_use[bare_jid, device_id] = session
        return session

    async def store_session(self, session: Session) -> None:
        """Keep a session as the one in use, and the one that it replaces."""
        ours = _checked(session)
        key = (ours.bare_jid, ours.device_id)
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
        await super().store_session(ours)

    async def build_session_active(
        self,
        bare_jid: str,
        device_id: int,
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[SessionImpl, EncryptedKeyMaterialImpl]:
        """Begin a session; a malformed key fails this device, not the message."""
        try:
            return await super().build_session_active(
                bare_jid, device_id, bundle, plain_key_material
            )
        except LIBRARY_ERRORS as cause:
            raise omemo.KeyExchangeFailed("the bundle cannot be used") from cause

    async def build_session_passive(
        self,
        bare_jid: str,
        device_id: int,
        key_exchange: KeyExchange,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[SessionImpl, PlainKeyMaterialImpl]:
        """Accept a session, or find it among those that were replaced."""
        archived = await self._archive(bare_jid, device_id)
        for session in archived:
            if session.initiation is Initiation.PASSIVE and (
                session.key_exchange.builds_same_session(key_exchange)
            ):
                material = await super().decrypt_key_material(
                    session, encrypted_key_material
                )
                rest = [other for other in archived if other is not session]
                before = self._in_use.pop((bare_jid, device_id), session)
                await self._write_archive([before, *rest])
                return session, material
        return await super().build_session_passive(
            bare_jid, device_id, key_exchange, encrypted_key_material
        )

    async def decrypt_key_material(
        self, session: Session, encrypted_key_material: EncryptedKeyMaterial
    ) -> PlainKeyMaterialImpl:
        """Decrypt with the session in use, or with one that was replaced.

        The one that fits is in use from then on, so that both sides end up with
        the same. A session that does not fit is not changed by the attempt.
        """
        try:
            return await super().decrypt_key_material(session, encrypted_key_material)
        except omemo.DecryptionFailed as failure:
            if isinstance(failure.__cause__, doubleratchet.DuplicateMessageException):
                raise
            current = _checked(session)
            archived = await self._archive(current.bare_jid, current.device_id)
            for old in archived:
                try:
                    material = await super().decrypt_key_material(
                        old, encrypted_key_material
                    )
                except omemo.DecryptionFailed:
                    continue
                rest = [other for other in archived if other is not old]
                await self._write_archive([current, *rest])
                self._swapped = (current, old)
                return material
            raise

    # --- pre-keys while an archive is read ----------------------------------------

    async def hide_pre_key(self, session: Session) -> bool:
        """Keep a used pre-key, but offer it to nobody; True if it was offered."""
        pre_key = _checked(session).key_exchange.header.pre_key
        offered = await self.get_bundle(session.bare_jid, session.device_id)
        if pre_key is None or pre_key not in offered.bundle.pre_keys:
            return False
        await self._write_spent([*await self._spent(), pre_key])
        return True

    async def delete_hidden_pre_keys(self) -> None:
        """Delete the used pre-keys that were kept."""
        spent = await self._spent()
        if not spent:
            return
        stored = (await self._storage.load(_STATE)).from_just()
        state, _ = StateImpl.from_json(
            cast("x3dh.types.JSONObject", stored),
            x3dh.IdentityKeyFormat.ED_25519,
            x3dh.HashFunction.SHA_256,
            StateImpl.INFO,
        )
        for pre_key in spent:
            state.delete_pre_key(pre_key)
        await self._storage.store(_STATE, state.json)
        await self._storage.delete(_SPENT)

    async def get_num_visible_pre_keys(self) -> int:
        """Return how many pre-keys are offered."""
        offered = await self.get_bundle("", 0)
        return len(offered.bundle.pre_keys)

    async def get_bundle(self, bare_jid: str, device_id: int) -> BundleImpl:
        """Return our bundle, without the pre-keys that are used."""
        whole = await super().get_bundle(bare_jid, device_id)
        spent = set(await self._spent())
        if not spent:
            return whole
        offered = whole.bundle.pre_keys - spent
        return BundleImpl(
            bare_jid,
            device_id,
            whole.bundle._replace(pre_keys=offered),
            whole.signed_pre_key_id,
            {
                key: number
                for key, number in whole.pre_key_ids.items()
                if key in offered
            },
        )

    async def _spent(self) -> list[bytes]:
        found = (await self._storage.load_list(_SPENT, str)).maybe([])
        return [base64.b64decode(text) for text in found]

    async def _write_spent(self, pre_keys: Sequence[bytes]) -> None:
        await self._storage.store(_SPENT, [*map(_base64, pre_keys)])

    # --- sessions that were replaced ----------------------------------------------

    async def _archive(self, bare_jid: str, device_id: int) -> list[SessionImpl]:
        """Return the sessions that were replaced, the newest first."""
        archived = []
        for slot in range(_ARCHIVED):
            place = _place(bare_jid, slot)
            session = await super().load_session(place, device_id)
            if session is not None:
                archived.append(_moved(session, bare_jid))
        return archived

    async def _write_archive(self, sessions: Sequence[SessionImpl]) -> None:
        """Keep sessions that were replaced; never fewer than before."""
        for slot, session in enumerate(sessions[:_ARCHIVED]):
            await super().store_session(_moved(session, _place(session.bare_jid, slot)))


def _checked(session: Session) -> SessionImpl:
    if not isinstance(session, SessionImpl):
        raise TypeError("a session of another backend")
    return session


def _is_same(one: SessionImpl, other: SessionImpl) -> bool:
    return one.initiation is other.initiation and (
        one.key_exchange.builds_same_session(other.key_exchange)
    )


def _place(bare_jid: str, slot: int) -> str:
    """Return where the library's records of an archived session are kept."""
    return f"{bare_jid}/archive/{slot}"


def _moved(session: SessionImpl, bare_jid: str) -> SessionImpl:
    return SessionImpl(
        bare_jid,
        session.device_id,
        session.initiation,
        session.key_exchange,
        session.associated_data,
        session.double_ratchet,
        session.confirmed,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
