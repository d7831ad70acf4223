"""What both OMEMO versions do alike with the library's classes.

The library has the same classes under the same names in two packages. What a version
does with its own is here, once; which they are, in ``local_oldmemo.py`` and
``local_twomemo.py``.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

import omemo
import x3dh
from oldmemo import oldmemo
from omemo.message import EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Initiation, Session
from twomemo import twomemo
from x3dh.models import BaseStateModel

from xmpp_onion.e2ee.agreement import LastingBackend, Numbered
from xmpp_onion.e2ee.backend import LocalState, agreement_errors, decryption_errors
from xmpp_onion.e2ee.ratchet import Ratchet
from xmpp_onion.e2ee.record import Begun, split

__all__ = ["ExchangeType", "LocalBackend"]

_Session = TypeVar("_Session", oldmemo.SessionImpl, twomemo.SessionImpl)
_Encrypted = TypeVar(
    "_Encrypted", oldmemo.EncryptedKeyMaterialImpl, twomemo.EncryptedKeyMaterialImpl
)
_Plain = TypeVar("_Plain", oldmemo.PlainKeyMaterialImpl, twomemo.PlainKeyMaterialImpl)
_Bundle = TypeVar("_Bundle", oldmemo.BundleImpl, twomemo.BundleImpl)


ExchangeType = type[oldmemo.KeyExchangeImpl] | type[twomemo.KeyExchangeImpl]


class LocalBackend(
    LastingBackend[_Session, _Encrypted, _Plain, _Bundle],
    Generic[_Session, _Encrypted, _Plain, _Bundle],
):
    """An OMEMO version for one store.

    Attributes:
        ratchet: The class of its ratchets.
        state: The class of its key agreements.
        info: What its key agreements are bound to.
    """

    ratchet: ClassVar[type[Ratchet]]
    state: ClassVar[type[LocalState]]
    info: ClassVar[bytes]
    _session_type: type[_Session]
    _encrypted_type: type[_Encrypted]
    _plain_type: type[_Plain]
    _bundle_type: type[_Bundle]
    _exchange_type: ClassVar[ExchangeType]

    @abstractmethod
    def _session(
        self,
        whose: tuple[str, int],
        begun: Begun,
        ratchet: Ratchet,
        *,
        confirmed: bool = False,
    ) -> _Session:
        """Return a session; the ratchet is one of this version."""

    async def _begin(
        self,
        state: x3dh.BaseState,
        to: tuple[str, int],
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[_Session, _Encrypted]:
        if not isinstance(bundle, self._bundle_type) or not isinstance(
            plain_key_material, self._plain_type
        ):
            raise TypeError("of another backend")
        keys = bundle.bundle
        secret, data, header = await state.get_shared_secret_active(keys)
        text = plain_key_material.key + plain_key_material.auth_tag
        ratchet, message = await self.ratchet.begin(
            secret, keys.signed_pre_key, text, data
        )
        number = bundle.pre_key_ids[header.pre_key or b""]
        begun = Begun(Initiation.ACTIVE, header, bundle.signed_pre_key_id, number, data)
        session = self._session(to, begun, ratchet)
        return session, self._encrypted_type(*to, message)

    async def _accept(
        self,
        state: x3dh.BaseState,
        sender: tuple[str, int],
        exchange: Numbered,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[_Session, _Plain]:
        if not isinstance(encrypted_key_material, self._encrypted_type):
            raise TypeError("of another backend")
        header = exchange.header
        with agreement_errors():
            secret, data, signed = await state.get_shared_secret_passive(header)
        message = encrypted_key_material.encrypted_message
        with decryption_errors():
            ratchet, plain = await self.ratchet.accept(
                secret, signed.priv, message, data
            )
        begun = Begun(Initiation.PASSIVE, *exchange, data)
        length = self._plain_type.KEY_LENGTH
        session = self._session(sender, begun, ratchet)
        return session, self._plain_type(plain[:length], plain[length:])

    def _new_state(self, model: BaseStateModel, identity_key: bytes) -> x3dh.BaseState:
        state = self.state.from_model(
            model,
            x3dh.IdentityKeyFormat.ED_25519,
            x3dh.HashFunction.SHA_256,
            self.info,
        )
        state.identity_key = identity_key
        return state

    def _exchange(self, key_exchange: KeyExchange) -> Numbered:
        if not isinstance(key_exchange, self._exchange_type):
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
    ) -> _Bundle:
        return self._bundle_type(*whose, keys, signed_pre_key_id, pre_key_ids)

    def _published(self, bundle: omemo.Bundle) -> Mapping[bytes, int]:
        if not isinstance(bundle, self._bundle_type):
            raise TypeError("a bundle of another backend")
        return bundle.pre_key_ids

    def _own_type(self, session: Session) -> _Session:
        if not isinstance(session, self._session_type):
            raise TypeError("a session of another backend")
        return session

    def _ratchet(self, session: _Session) -> Ratchet:
        ratchet = session.double_ratchet
        if not isinstance(ratchet, Ratchet):
            raise TypeError("a session that the library made")
        return ratchet

    def _lasting(self, session: _Session, bare_jid: str) -> _Session:
        ratchet = self.ratchet.restore(session.double_ratchet.model)
        exchange = self._exchange(session.key_exchange)
        begun = Begun(session.initiation, *exchange, session.associated_data)
        whose = bare_jid, session.device_id
        return self._session(whose, begun, ratchet, confirmed=session.confirmed)

    def _read_session(self, bare_jid: str, device_id: int, text: str) -> _Session:
        origin, confirmed, values = split(text)
        ratchet, begun = self.ratchet.read(values), Begun.read(origin)
        whose = bare_jid, device_id
        return self._session(whose, begun, ratchet, confirmed=confirmed)
