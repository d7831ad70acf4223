"""The backend of ``urn:xmpp:omemo:2``, made to last."""

from collections.abc import Callable, Mapping
from typing import Self

import omemo
import x3dh
from doubleratchet.models import DoubleRatchetModel
from omemo.message import EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Initiation, Session
from twomemo import twomemo
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

__all__ = ["LocalTwomemo"]


class NewRatchet(Ratchet, twomemo.DoubleRatchetImpl):
    """The ratchet of ``urn:xmpp:omemo:2``."""

    @classmethod
    def restore(cls, model: DoubleRatchetModel) -> Self:
        """Return a ratchet with a state."""
        return cls.from_model(model, *_NEW)


_NEW = (
    Curve,
    twomemo.RootChainKDFImpl,
    twomemo.MessageChainKDFImpl,
    twomemo.DoubleRatchetImpl.MESSAGE_CHAIN_CONSTANT,
    SKIPPED,
    SKIPPED,
    twomemo.AEADImpl,
)


class _NewState(LocalState, twomemo.StateImpl):
    """The key agreement of ``urn:xmpp:omemo:2``."""


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

    _load_old = twomemo.Twomemo.load_session
    _encrypt = twomemo.Twomemo.encrypt_key_material
    _decrypt = twomemo.Twomemo.decrypt_key_material

    def __init__(
        self,
        storage: KeyStorage,
        epoch: Epoch | None = None,
        now: Callable[[], float] = wall_clock,
    ) -> None:
        twomemo.Twomemo.__init__(self, storage)
        self._start(storage, epoch, now)

    @property
    def _spent_place(self) -> str:
        return f"{SPENT}/{self.namespace}"

    async def _begin(
        self,
        state: x3dh.BaseState,
        to: tuple[str, int],
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[twomemo.SessionImpl, twomemo.EncryptedKeyMaterialImpl]:
        if not isinstance(bundle, twomemo.BundleImpl) or not isinstance(
            plain_key_material, twomemo.PlainKeyMaterialImpl
        ):
            raise TypeError("of another backend")
        keys = bundle.bundle
        secret, data, header = await state.get_shared_secret_active(keys)
        ratchet, message = await NewRatchet.encrypt_initial_message(
            *_NEW,
            secret,
            keys.signed_pre_key,
            plain_key_material.key + plain_key_material.auth_tag,
            data,
        )
        number = bundle.pre_key_ids[header.pre_key or b""]
        begun = Begun(Initiation.ACTIVE, header, bundle.signed_pre_key_id, number, data)
        session = _new_session(to, begun, ratchet)
        return session, twomemo.EncryptedKeyMaterialImpl(*to, message)

    async def _accept(
        self,
        state: x3dh.BaseState,
        sender: tuple[str, int],
        exchange: Numbered,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[twomemo.SessionImpl, twomemo.PlainKeyMaterialImpl]:
        if not isinstance(encrypted_key_material, twomemo.EncryptedKeyMaterialImpl):
            raise TypeError("of another backend")
        header = exchange.header
        with agreement_errors():
            secret, data, signed = await state.get_shared_secret_passive(header)
        with decryption_errors():
            ratchet, plain = await NewRatchet.decrypt_initial_message(
                *_NEW,
                secret,
                signed.priv,
                encrypted_key_material.encrypted_message,
                data,
            )
        begun = Begun(Initiation.PASSIVE, *exchange, data)
        length = twomemo.PlainKeyMaterialImpl.KEY_LENGTH
        session = _new_session(sender, begun, ratchet)
        return session, twomemo.PlainKeyMaterialImpl(plain[:length], plain[length:])

    def _new_state(self, model: BaseStateModel, identity_key: bytes) -> x3dh.BaseState:
        state = _NewState.from_model(
            model,
            x3dh.IdentityKeyFormat.ED_25519,
            x3dh.HashFunction.SHA_256,
            twomemo.StateImpl.INFO,
        )
        state.identity_key = identity_key
        return state

    def _exchange(self, key_exchange: KeyExchange) -> Numbered:
        if not isinstance(key_exchange, twomemo.KeyExchangeImpl):
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
    ) -> twomemo.BundleImpl:
        return twomemo.BundleImpl(*whose, keys, signed_pre_key_id, pre_key_ids)

    def _published(self, bundle: omemo.Bundle) -> Mapping[bytes, int]:
        if not isinstance(bundle, twomemo.BundleImpl):
            raise TypeError("a bundle of another backend")
        return bundle.pre_key_ids

    def _own_type(self, session: Session) -> twomemo.SessionImpl:
        if not isinstance(session, twomemo.SessionImpl):
            raise TypeError("a session of another backend")
        return session

    def _ratchet(self, session: twomemo.SessionImpl) -> Ratchet:
        ratchet = session.double_ratchet
        if not isinstance(ratchet, NewRatchet):
            raise TypeError("a session of another backend")
        return ratchet

    def _lasting(
        self, session: twomemo.SessionImpl, bare_jid: str
    ) -> twomemo.SessionImpl:
        ratchet = NewRatchet.restore(session.double_ratchet.model)
        exchange = self._exchange(session.key_exchange)
        begun = Begun(session.initiation, *exchange, session.associated_data)
        whose = bare_jid, session.device_id
        return _new_session(whose, begun, ratchet, confirmed=session.confirmed)

    def _read_session(
        self, bare_jid: str, device_id: int, text: str
    ) -> twomemo.SessionImpl:
        origin, confirmed, values = split(text)
        ratchet, begun = NewRatchet.read(values), Begun.read(origin)
        whose = bare_jid, device_id
        return _new_session(whose, begun, ratchet, confirmed=confirmed)


def _new_session(
    whose: tuple[str, int],
    begun: Begun,
    ratchet: NewRatchet,
    *,
    confirmed: bool = False,
) -> twomemo.SessionImpl:
    ratchet.origin = begun.write()
    exchange = twomemo.KeyExchangeImpl(
        begun.header, begun.signed_pre_key_id, begun.pre_key_id
    )
    return twomemo.SessionImpl(
        *whose, begun.initiation, exchange, begun.associated_data, ratchet, confirmed
    )
