"""The library's two OMEMO backends, made to last (``lasting.py``)."""

import x3dh
from oldmemo import oldmemo
from omemo.session import Session
from twomemo import twomemo

from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.lasting import LIBRARY_ERRORS, LastingBackend
from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LIBRARY_ERRORS", "LocalOldmemo", "LocalTwomemo"]

_SPENT = "/xmpp-onion/spent-pre-keys"
"""Where the used pre-keys of the older backend are, as there was no other."""


class LocalOldmemo(
    LastingBackend[
        oldmemo.SessionImpl,
        oldmemo.EncryptedKeyMaterialImpl,
        oldmemo.PlainKeyMaterialImpl,
        oldmemo.BundleImpl,
    ],
    oldmemo.Oldmemo,
):
    """``eu.siacs.conversations.axolotl`` for one store."""

    def __init__(self, storage: KeyStorage, epoch: Epoch | None = None) -> None:
        oldmemo.Oldmemo.__init__(self, storage)
        self._start(storage, epoch)

    _load = oldmemo.Oldmemo.load_session
    _store = oldmemo.Oldmemo.store_session
    _begin = oldmemo.Oldmemo.build_session_active
    _accept = oldmemo.Oldmemo.build_session_passive
    _encrypt = oldmemo.Oldmemo.encrypt_key_material
    _decrypt = oldmemo.Oldmemo.decrypt_key_material
    _bundle = oldmemo.Oldmemo.get_bundle

    def _own_type(self, session: Session) -> oldmemo.SessionImpl:
        if not isinstance(session, oldmemo.SessionImpl):
            raise TypeError("a session of another backend")
        return session

    def _moved(
        self, session: oldmemo.SessionImpl, bare_jid: str
    ) -> oldmemo.SessionImpl:
        return oldmemo.SessionImpl(
            bare_jid,
            session.device_id,
            session.initiation,
            session.key_exchange,
            session.associated_data,
            session.double_ratchet,
            session.confirmed,
        )

    def _pre_key(self, session: Session) -> bytes | None:
        return self._own_type(session).key_exchange.header.pre_key

    def _ephemeral_key(self, session: Session) -> bytes:
        return self._own_type(session).key_exchange.header.ephemeral_key

    def _offered(
        self, whole: oldmemo.BundleImpl, spent: set[bytes]
    ) -> oldmemo.BundleImpl:
        return oldmemo.BundleImpl(
            whole.bare_jid,
            whole.device_id,
            whole.bundle._replace(pre_keys=whole.bundle.pre_keys - spent),
            whole.signed_pre_key_id,
            {k: n for k, n in whole.pre_key_ids.items() if k not in spent},
        )

    def _pre_keys(self, bundle: oldmemo.BundleImpl) -> frozenset[bytes]:
        return bundle.bundle.pre_keys

    def _state(self, stored: x3dh.types.JSONObject) -> x3dh.BaseState:
        state, _ = oldmemo.StateImpl.from_json(
            stored,
            x3dh.IdentityKeyFormat.ED_25519,
            x3dh.HashFunction.SHA_256,
            oldmemo.StateImpl.INFO,
        )
        return state

    @property
    def _spent_place(self) -> str:
        return _SPENT


class LocalTwomemo(
    LastingBackend[
        twomemo.SessionImpl,
        twomemo.EncryptedKeyMaterialImpl,
        twomemo.PlainKeyMaterialImpl,
        twomemo.BundleImpl,
    ],
    twomemo.Twomemo,
):
    """``urn:xmpp:omemo:2`` for one store."""

    def __init__(self, storage: KeyStorage, epoch: Epoch | None = None) -> None:
        twomemo.Twomemo.__init__(self, storage)
        self._start(storage, epoch)

    _load = twomemo.Twomemo.load_session
    _store = twomemo.Twomemo.store_session
    _begin = twomemo.Twomemo.build_session_active
    _accept = twomemo.Twomemo.build_session_passive
    _encrypt = twomemo.Twomemo.encrypt_key_material
    _decrypt = twomemo.Twomemo.decrypt_key_material
    _bundle = twomemo.Twomemo.get_bundle

    def _own_type(self, session: Session) -> twomemo.SessionImpl:
        if not isinstance(session, twomemo.SessionImpl):
            raise TypeError("a session of another backend")
        return session

    def _moved(
        self, session: twomemo.SessionImpl, bare_jid: str
    ) -> twomemo.SessionImpl:
        return twomemo.SessionImpl(
            bare_jid,
            session.device_id,
            session.initiation,
            session.key_exchange,
            session.associated_data,
            session.double_ratchet,
            session.confirmed,
        )

    def _pre_key(self, session: Session) -> bytes | None:
        return self._own_type(session).key_exchange.header.pre_key

    def _ephemeral_key(self, session: Session) -> bytes:
        return self._own_type(session).key_exchange.header.ephemeral_key

    def _offered(
        self, whole: twomemo.BundleImpl, spent: set[bytes]
    ) -> twomemo.BundleImpl:
        return twomemo.BundleImpl(
            whole.bare_jid,
            whole.device_id,
            whole.bundle._replace(pre_keys=whole.bundle.pre_keys - spent),
            whole.signed_pre_key_id,
            {k: n for k, n in whole.pre_key_ids.items() if k not in spent},
        )

    def _pre_keys(self, bundle: twomemo.BundleImpl) -> frozenset[bytes]:
        return bundle.bundle.pre_keys

    def _state(self, stored: x3dh.types.JSONObject) -> x3dh.BaseState:
        state, _ = twomemo.StateImpl.from_json(
            stored,
            x3dh.IdentityKeyFormat.ED_25519,
            x3dh.HashFunction.SHA_256,
            twomemo.StateImpl.INFO,
        )
        return state

    @property
    def _spent_place(self) -> str:
        return f"{_SPENT}/{self.namespace}"
