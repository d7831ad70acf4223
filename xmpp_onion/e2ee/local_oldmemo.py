"""The backend of ``eu.siacs.conversations.axolotl``, made to last."""

from collections.abc import Callable, Mapping
from typing import Self

import omemo
import x3dh
from doubleratchet.models import DoubleRatchetModel
from oldmemo import oldmemo
from omemo.message import EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Initiation, Session
from x3dh.models import BaseStateModel

from xmpp_onion.e2ee.agreement import LastingBackend, Numbered
from xmpp_onion.e2ee.backend import (
    SKIPPED,
    SPENT,
    LocalState,
    agreement_errors,
    decryption_errors,
)
from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.lasting import wall_clock
from xmpp_onion.e2ee.ratchet import Curve, Ratchet
from xmpp_onion.e2ee.record import Begun, split
from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LocalOldmemo"]


class OldRatchet(Ratchet, oldmemo.DoubleRatchetImpl):
    """The ratchet of ``eu.siacs.conversations.axolotl``."""

    @classmethod
    def restore(cls, model: DoubleRatchetModel) -> Self:
        """Return a ratchet with a state."""
        return cls.from_model(model, *_OLD)


_OLD = (
    Curve,
    oldmemo.RootChainKDFImpl,
    oldmemo.MessageChainKDFImpl,
    oldmemo.DoubleRatchetImpl.MESSAGE_CHAIN_CONSTANT,
    SKIPPED,
    SKIPPED,
    oldmemo.AEADImpl,
)


class _OldState(LocalState, oldmemo.StateImpl):
    """The key agreement of ``eu.siacs.conversations.axolotl``."""


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

    _load_old = oldmemo.Oldmemo.load_session
    _encrypt = oldmemo.Oldmemo.encrypt_key_material
    _decrypt = oldmemo.Oldmemo.decrypt_key_material

    def __init__(
        self,
        storage: KeyStorage,
        epoch: Epoch | None = None,
        now: Callable[[], float] = wall_clock,
    ) -> None:
        oldmemo.Oldmemo.__init__(self, storage)
        self._start(storage, epoch, now)

    @property
    def _spent_place(self) -> str:
        return SPENT

    async def _begin(
        self,
        state: x3dh.BaseState,
        to: tuple[str, int],
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[oldmemo.SessionImpl, oldmemo.EncryptedKeyMaterialImpl]:
        if not isinstance(bundle, oldmemo.BundleImpl) or not isinstance(
            plain_key_material, oldmemo.PlainKeyMaterialImpl
        ):
            raise TypeError("of another backend")
        keys = bundle.bundle
        secret, data, header = await state.get_shared_secret_active(keys)
        ratchet, message = await OldRatchet.encrypt_initial_message(
            *_OLD,
            secret,
            keys.signed_pre_key,
            plain_key_material.key + plain_key_material.auth_tag,
            data,
        )
        number = bundle.pre_key_ids[header.pre_key or b""]
        begun = Begun(Initiation.ACTIVE, header, bundle.signed_pre_key_id, number, data)
        session = _old_session(to, begun, ratchet)
        return session, oldmemo.EncryptedKeyMaterialImpl(*to, message)

    async def _accept(
        self,
        state: x3dh.BaseState,
        sender: tuple[str, int],
        exchange: Numbered,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[oldmemo.SessionImpl, oldmemo.PlainKeyMaterialImpl]:
        if not isinstance(encrypted_key_material, oldmemo.EncryptedKeyMaterialImpl):
            raise TypeError("of another backend")
        header = exchange.header
        with agreement_errors():
            secret, data, signed = await state.get_shared_secret_passive(header)
        with decryption_errors():
            ratchet, plain = await OldRatchet.decrypt_initial_message(
                *_OLD,
                secret,
                signed.priv,
                encrypted_key_material.encrypted_message,
                data,
            )
        begun = Begun(Initiation.PASSIVE, *exchange, data)
        length = oldmemo.PlainKeyMaterialImpl.KEY_LENGTH
        session = _old_session(sender, begun, ratchet)
        return session, oldmemo.PlainKeyMaterialImpl(plain[:length], plain[length:])

    def _new_state(self, model: BaseStateModel, identity_key: bytes) -> x3dh.BaseState:
        state = _OldState.from_model(
            model,
            x3dh.IdentityKeyFormat.ED_25519,
            x3dh.HashFunction.SHA_256,
            oldmemo.StateImpl.INFO,
        )
        state.identity_key = identity_key
        return state

    def _exchange(self, key_exchange: KeyExchange) -> Numbered:
        if not isinstance(key_exchange, oldmemo.KeyExchangeImpl):
            raise TypeError("a key exchange of another backend")
        return Numbered(
            key_exchange.header,
            key_exchange.signed_pre_key_id,
            key_exchange.pre_key_id,
        )

    def _make_bundle(
        self,
        whose: tuple[str, int],
        keys: x3dh.Bundle,
        signed_pre_key_id: int,
        pre_key_ids: dict[bytes, int],
    ) -> oldmemo.BundleImpl:
        return oldmemo.BundleImpl(*whose, keys, signed_pre_key_id, pre_key_ids)

    def _published(self, bundle: omemo.Bundle) -> Mapping[bytes, int]:
        if not isinstance(bundle, oldmemo.BundleImpl):
            raise TypeError("a bundle of another backend")
        return bundle.pre_key_ids

    def _own_type(self, session: Session) -> oldmemo.SessionImpl:
        if not isinstance(session, oldmemo.SessionImpl):
            raise TypeError("a session of another backend")
        return session

    def _ratchet(self, session: oldmemo.SessionImpl) -> Ratchet:
        ratchet = session.double_ratchet
        if not isinstance(ratchet, OldRatchet):
            raise TypeError("a session of another backend")
        return ratchet

    def _lasting(
        self, session: oldmemo.SessionImpl, bare_jid: str
    ) -> oldmemo.SessionImpl:
        ratchet = OldRatchet.restore(session.double_ratchet.model)
        exchange = self._exchange(session.key_exchange)
        begun = Begun(session.initiation, *exchange, session.associated_data)
        whose = bare_jid, session.device_id
        return _old_session(whose, begun, ratchet, confirmed=session.confirmed)

    def _read_session(
        self, bare_jid: str, device_id: int, text: str
    ) -> oldmemo.SessionImpl:
        origin, confirmed, values = split(text)
        ratchet, begun = OldRatchet.read(values), Begun.read(origin)
        whose = bare_jid, device_id
        return _old_session(whose, begun, ratchet, confirmed=confirmed)


def _old_session(
    whose: tuple[str, int],
    begun: Begun,
    ratchet: OldRatchet,
    *,
    confirmed: bool = False,
) -> oldmemo.SessionImpl:
    ratchet.origin = begun.write()
    exchange = oldmemo.KeyExchangeImpl(
        begun.header, begun.signed_pre_key_id, begun.pre_key_id
    )
    return oldmemo.SessionImpl(
        *whose, begun.initiation, exchange, begun.associated_data, ratchet, confirmed
    )
