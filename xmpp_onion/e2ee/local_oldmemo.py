"""The library's backend of ``eu.siacs.conversations.axolotl``, made to last."""

from collections.abc import Callable
from typing import ClassVar

import x3dh
from oldmemo import oldmemo

from xmpp_onion.e2ee.backend import SKIPPED, SPENT, LocalState, curve_form
from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.lasting import wall_clock
from xmpp_onion.e2ee.local import ExchangeType, LocalBackend
from xmpp_onion.e2ee.ratchet import Curve, Parts, Ratchet
from xmpp_onion.e2ee.record import Begun
from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LocalOldmemo"]


class OldRatchet(Ratchet, oldmemo.DoubleRatchetImpl):
    """The ratchet of ``eu.siacs.conversations.axolotl``."""

    parts: ClassVar[Parts] = (
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

    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        # The library converts our identity key, and the other one, for each session.
        if key_format is x3dh.IdentityKeyFormat.ED_25519:
            key_format, pub = x3dh.IdentityKeyFormat.CURVE_25519, curve_form(pub)
        return oldmemo.StateImpl._encode_public_key(key_format, pub)  # noqa: SLF001 - it is what this one is instead of


class LocalOldmemo(
    LocalBackend[
        oldmemo.SessionImpl,
        oldmemo.EncryptedKeyMaterialImpl,
        oldmemo.PlainKeyMaterialImpl,
        oldmemo.BundleImpl,
    ],
    oldmemo.Oldmemo,
):
    """``eu.siacs.conversations.axolotl`` for one store."""

    ratchet: ClassVar[type[Ratchet]] = OldRatchet
    state: ClassVar[type[LocalState]] = _OldState
    info = oldmemo.StateImpl.INFO
    _session_type = oldmemo.SessionImpl
    _encrypted_type = oldmemo.EncryptedKeyMaterialImpl
    _plain_type = oldmemo.PlainKeyMaterialImpl
    _bundle_type = oldmemo.BundleImpl
    _exchange_type: ClassVar[ExchangeType] = oldmemo.KeyExchangeImpl
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

    def _session(
        self,
        whose: tuple[str, int],
        begun: Begun,
        ratchet: Ratchet,
        *,
        confirmed: bool = False,
    ) -> oldmemo.SessionImpl:
        if not isinstance(ratchet, OldRatchet):
            raise TypeError("a ratchet of another backend")
        ratchet.origin = begun.write()
        exchange = oldmemo.KeyExchangeImpl(
            begun.header, begun.signed_pre_key_id, begun.pre_key_id
        )
        data = begun.associated_data
        return oldmemo.SessionImpl(
            *whose, begun.initiation, exchange, data, ratchet, confirmed
        )
