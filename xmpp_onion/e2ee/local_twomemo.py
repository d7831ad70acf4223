"""The library's backend of ``urn:xmpp:omemo:2``, made to last."""

from collections.abc import Callable
from typing import ClassVar

from twomemo import twomemo

from xmpp_onion.e2ee.backend import SKIPPED, SPENT, LocalState
from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.lasting import wall_clock
from xmpp_onion.e2ee.local import ExchangeType, LocalBackend
from xmpp_onion.e2ee.ratchet import Curve, Parts, Ratchet
from xmpp_onion.e2ee.record import Begun
from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LocalTwomemo"]


class NewRatchet(Ratchet, twomemo.DoubleRatchetImpl):
    """The ratchet of ``urn:xmpp:omemo:2``."""

    parts: ClassVar[Parts] = (
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
    LocalBackend[
        twomemo.SessionImpl,
        twomemo.EncryptedKeyMaterialImpl,
        twomemo.PlainKeyMaterialImpl,
        twomemo.BundleImpl,
    ],
    twomemo.Twomemo,
):
    """``urn:xmpp:omemo:2`` for one store."""

    ratchet: ClassVar[type[Ratchet]] = NewRatchet
    state: ClassVar[type[LocalState]] = _NewState
    info = twomemo.StateImpl.INFO
    _session_type = twomemo.SessionImpl
    _encrypted_type = twomemo.EncryptedKeyMaterialImpl
    _plain_type = twomemo.PlainKeyMaterialImpl
    _bundle_type = twomemo.BundleImpl
    _exchange_type: ClassVar[ExchangeType] = twomemo.KeyExchangeImpl
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

    def _session(
        self,
        whose: tuple[str, int],
        begun: Begun,
        ratchet: Ratchet,
        *,
        confirmed: bool = False,
    ) -> twomemo.SessionImpl:
        if not isinstance(ratchet, NewRatchet):
            raise TypeError("a ratchet of another backend")
        ratchet.origin = begun.write()
        exchange = twomemo.KeyExchangeImpl(
            begun.header, begun.signed_pre_key_id, begun.pre_key_id
        )
        data = begun.associated_data
        return twomemo.SessionImpl(
            *whose, begun.initiation, exchange, data, ratchet, confirmed
        )
