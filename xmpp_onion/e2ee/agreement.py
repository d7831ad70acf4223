"""Sessions are begun here: our pre-keys, their bundles, and how many may begin.

The library reads and writes all its pre-keys for each session, and derives their
public keys each time. Here they stay in memory, and the library's key agreement
gets the one that it needs.
"""

from abc import abstractmethod
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar, cast

import doubleratchet
import omemo
import x3dh
import xeddsa
from omemo.identity_key_pair import IdentityKeyPair
from omemo.message import EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Session
from x3dh.identity_key_pair import IdentityKeyPairPriv
from x3dh.migrations import parse_base_state_model
from x3dh.models import (
    BaseStateModel,
    IdentityKeyPairModel,
    SignedPreKeyPairModel,
)

from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.lasting import (
    EncryptedT,
    LastingSessions,
    PlainT,
    SessionT,
)
from xmpp_onion.e2ee.pre_keys import MOST_SESSIONS, PreKeys, SignedPreKey
from xmpp_onion.e2ee.quota import Quota
from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LIBRARY_ERRORS", "LastingBackend", "Numbered"]

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

# Sessions that a JID may begin with us: at once, and seconds until one more. A new
# device or a client that lost its keys begins one; two sides that begin at once,
# two. Who begins more wants to use up our pre-keys, or our time.
_NEW_SESSIONS = 40
_NEW_SESSION_EVERY = 60.0

_IDENTITY = "/ikp/key"
"""Where the library keeps our identity key."""

# What the library calls the rows of its key agreement.
_OLD_PARTS = ("x3dh", "signed_pre_key_ids", "pre_key_ids", "pre_key_id_counter")
_PRIV = IdentityKeyPairPriv(bytes(32)).secret_type
# Where the library wants a signed pre-key before there is one.
_NO_PRE_KEY = SignedPreKeyPairModel(priv=bytes(32), sig=bytes(64), timestamp=0)

BundleT = TypeVar("BundleT", bound=omemo.Bundle)


class Identity(NamedTuple):
    """Our identity key, and the text that it was read from."""

    text: str | None
    priv: bytes
    pub: bytes


class Numbered(NamedTuple):
    """A key exchange with its keys, as the library wants it filled in."""

    header: x3dh.Header
    signed_pre_key_id: int
    pre_key_id: int


class LastingBackend(
    LastingSessions[SessionT, EncryptedT, PlainT],
    Generic[SessionT, EncryptedT, PlainT, BundleT],
):
    """The keys and sessions of one store. What writes is inside a transaction."""

    def _start(
        self, storage: KeyStorage, epoch: Epoch | None, now: Callable[[], float]
    ) -> None:
        super()._start(storage, epoch, now)
        self._pool: tuple[str, PreKeys] | None = None
        self._identity: Identity | None = None
        self._quota = Quota(_NEW_SESSIONS, _NEW_SESSION_EVERY)

    # --- what differs between the namespaces --------------------------------------

    @abstractmethod
    def _new_state(self, model: BaseStateModel, identity_key: bytes) -> x3dh.BaseState:
        """Return the library's key agreement with some keys; the last is our own."""

    @abstractmethod
    async def _begin(
        self,
        state: x3dh.BaseState,
        to: tuple[str, int],
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[SessionT, EncryptedT]:
        """Begin a session."""

    @abstractmethod
    async def _accept(
        self,
        state: x3dh.BaseState,
        sender: tuple[str, int],
        exchange: Numbered,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[SessionT, PlainT]:
        """Accept a session that the other side began."""

    @abstractmethod
    def _exchange(self, key_exchange: KeyExchange) -> Numbered:
        """Return what is in a key exchange, which is of this backend."""

    @abstractmethod
    def _make_bundle(
        self,
        whose: tuple[str, int],
        keys: x3dh.Bundle,
        signed_pre_key_id: int,
        pre_key_ids: dict[bytes, int],
    ) -> BundleT:
        """Return a bundle."""

    @property
    @abstractmethod
    def _spent_place(self) -> str:
        """Where an earlier version kept the list of used pre-keys."""

    # --- sessions -----------------------------------------------------------------

    async def build_session_active(
        self,
        bare_jid: str,
        device_id: int,
        bundle: omemo.Bundle,
        plain_key_material: PlainKeyMaterial,
    ) -> tuple[SessionT, EncryptedT]:
        """Begin a session; a malformed key fails this device, not the message."""
        state = await self._state((await self._keys()).signed.pair)
        to = bare_jid, device_id
        try:
            session, key = await self._begin(state, to, bundle, plain_key_material)
        except LIBRARY_ERRORS as cause:
            raise omemo.KeyExchangeFailed("the bundle cannot be used") from cause
        await self._note_begun(session)
        return session, key

    async def build_session_passive(
        self,
        bare_jid: str,
        device_id: int,
        key_exchange: KeyExchange,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[SessionT, PlainT]:
        """Accept a session, or find it among those that were replaced."""
        taken_up = await self._take_up(
            bare_jid, device_id, key_exchange, encrypted_key_material
        )
        if taken_up is not None:
            return taken_up
        if not self._quota.take(bare_jid):
            raise omemo.KeyExchangeFailed("the sender begins too many sessions")
        keys, exchange = await self._keys(), self._exchange(key_exchange)
        filled, signed, priv = _fill_in(keys, exchange)
        state = await self._state(signed.pair, priv)
        sender = bare_jid, device_id
        session, material = await self._accept(
            state, sender, filled, encrypted_key_material
        )
        await self._note_begun(session)
        return session, material

    def _ephemeral_key(self, session: Session) -> bytes:
        return self._exchange(session.key_exchange).header.ephemeral_key

    # --- pre-keys -----------------------------------------------------------------

    async def signed_pre_key_age(self) -> int:
        """Return for how many seconds the signed pre-key has been offered."""
        return int(self._now()) - (await self._keys()).signed.pair.timestamp

    async def rotate_signed_pre_key(self) -> None:
        """Offer a new signed pre-key; the old one serves until the next time."""
        keys = await self._take_keys()
        state = await self._state(keys.signed.pair)
        state.rotate_signed_pre_key()
        number = max(keys.signed.number, keys.old.number if keys.old else 0) + 1
        keys.old, keys.signed = keys.signed, _newest(state, number)
        await self._write_keys(keys)

    async def generate_pre_keys(self, num_pre_keys: int) -> None:  # noqa: ARG002 - the library's number fills up to 100
        """Offer as many pre-keys as we always do, whatever the library asks for."""
        keys = await self._take_keys()
        keys.fill_up()
        await self._write_keys(keys)

    async def get_num_visible_pre_keys(self) -> int:
        """Return how many pre-keys are offered."""
        return len((await self._keys()).offered)

    async def hide_pre_key(self, session: Session) -> bool:
        """Keep a used pre-key, but offer it to nobody; True if it was offered."""
        header = self._exchange(session.key_exchange).header
        if header.pre_key is None:
            return False
        known = (await self._keys()).used.get(header.pre_key)
        if known is not None and header.ephemeral_key in known.begun:
            return False  # as for each message until the sender has our answer
        keys = await self._take_keys()
        was_offered = keys.use(header.pre_key, header.ephemeral_key)
        await self._write_keys(keys)
        return was_offered

    async def delete_pre_key(self, session: Session) -> bool:
        """Do the same as :meth:`hide_pre_key`: it is deleted when its time is over."""
        return await self.hide_pre_key(session)

    async def delete_hidden_pre_keys(self) -> None:
        """Delete the used pre-keys whose time is over."""
        keys = await self._take_keys()
        if keys.expire(int(self._now())):
            await self._write_keys(keys)

    async def renew_pre_keys(self) -> None:
        """Make all that we offer new; what we offered is kept for what comes late."""
        keys = await self._take_keys()
        for pre_key in list(keys.offered):
            keys.use(pre_key)
        keys.fill_up()
        await self._write_keys(keys)
        await self.rotate_signed_pre_key()

    async def note_published(self, bundle: omemo.Bundle) -> None:
        """Note that this bundle is what others see from now on."""
        keys = await self._take_keys()
        if keys.note_published(self._published(bundle), int(self._now())):
            await self._write_keys(keys)

    @abstractmethod
    def _published(self, bundle: omemo.Bundle) -> Mapping[bytes, int]:
        """Return the pre-keys of a bundle, which is of this backend."""

    async def get_bundle(self, bare_jid: str, device_id: int) -> BundleT:
        """Return our bundle, without the pre-keys that are used."""
        keys = await self._keys()
        identity = await self._own_identity()
        bundle = x3dh.Bundle(
            identity.pub, keys.signed.pub, keys.signed.pair.sig, frozenset(keys.offered)
        )
        numbers = {pub: key.number for pub, key in keys.offered.items()}
        whose = bare_jid, device_id
        return self._make_bundle(whose, bundle, keys.signed.number, numbers)

    # --- what is in memory --------------------------------------------------------

    async def _keys(self) -> PreKeys:
        """Return our pre-keys as they are stored; make them if there are none."""
        text = await self._storage.load_text(self._place)
        if text is None:
            keys = await self._import_keys() or await self._first_keys()
            await self._write_keys(keys)
            return keys
        if self._pool is None or self._pool[0] != text:
            self._pool = text, PreKeys.read(text)
        return self._pool[1]

    async def _take_keys(self) -> PreKeys:
        """Return our pre-keys to be changed; unless written, they are read anew."""
        keys = await self._keys()
        self._pool = None
        return keys

    async def _write_keys(self, keys: PreKeys) -> None:
        keys.expire(int(self._now()))
        text = keys.write()
        await self._storage.store_text(self._place, text)
        self._pool = text, keys

    async def _first_keys(self) -> PreKeys:
        state = await self._state(_NO_PRE_KEY)
        state.rotate_signed_pre_key()
        return PreKeys(_newest(state, 1))

    async def _import_keys(self) -> PreKeys | None:
        """Take over what the library stored, and an earlier version beside it."""
        storage, start = self._storage, f"/{self.namespace}"
        stored = await storage.load(f"{start}/x3dh")
        if stored.is_nothing:
            return None
        serialized = cast("x3dh.types.JSONObject", stored.from_just())
        model, _ = parse_base_state_model(serialized)
        numbers = await self._old_numbers(f"{start}/pre_key_ids")
        signed_numbers = await self._old_numbers(f"{start}/signed_pre_key_ids")
        counter = await storage.load_primitive(f"{start}/pre_key_id_counter", int)
        spent = (await storage.load_list(self._spent_place, str)).maybe([])
        newest = max(signed_numbers.values(), default=0) + 1
        old = model.old_signed_pre_key
        keys = PreKeys(
            _numbered(model.signed_pre_key, signed_numbers, newest),
            _numbered(old, signed_numbers, newest + 1) if old else None,
            next_number=counter.maybe(0) + 1,
        )
        for priv in model.pre_keys:
            keys.add(priv, numbers.get(xeddsa.priv_to_curve25519_pub(priv)))
        for text in spent:
            keys.use(b64decode(text))
        for part in _OLD_PARTS:
            await storage.delete(f"{start}/{part}")
        await storage.delete(self._spent_place)
        return keys

    async def _old_numbers(self, name: str) -> dict[bytes, int]:
        numbers = (await self._storage.load_dict(name, int)).maybe({})
        return {b64decode(pub): number for pub, number in numbers.items()}

    async def _own_identity(self) -> Identity:
        text = await self._storage.load_text(_IDENTITY)
        if self._identity is None or self._identity.text != text or text is None:
            priv = (await IdentityKeyPair.get(self._storage)).as_priv().priv
            text = await self._storage.load_text(_IDENTITY)
            self._identity = Identity(text, priv, xeddsa.priv_to_ed25519_pub(priv))
        return self._identity

    async def _state(
        self, signed: SignedPreKeyPairModel, pre_key: bytes | None = None
    ) -> x3dh.BaseState:
        """Return the library's key agreement with these keys and no others."""
        identity = await self._own_identity()
        model = BaseStateModel(
            identity_key=IdentityKeyPairModel(secret=identity.priv, secret_type=_PRIV),
            signed_pre_key=signed,
            old_signed_pre_key=None,
            pre_keys=frozenset() if pre_key is None else frozenset({pre_key}),
        )
        return self._new_state(model, identity.pub)

    @property
    def _place(self) -> str:
        return f"/{self.namespace}/pre-keys"


def _fill_in(keys: PreKeys, exchange: Numbered) -> tuple[Numbered, SignedPreKey, bytes]:
    """Return a key exchange with our public keys, and the secret ones to them."""
    signed = keys.find_signed(exchange.signed_pre_key_id)
    if signed is None:
        raise omemo.KeyExchangeFailed("the signed pre-key is not known, or too old")
    key = keys.find(exchange.pre_key_id)
    if key is None:
        raise omemo.KeyExchangeFailed("the pre-key is not known, or was used")
    header = exchange.header
    if header.ephemeral_key in key.begun:
        # Only a copy of a message comes here: its session was replaced since.
        raise omemo.DecryptionFailed("the session was begun and replaced") from (
            doubleratchet.DuplicateMessageException("a key exchange that was used")
        )
    if len(key.begun) >= MOST_SESSIONS:
        raise omemo.KeyExchangeFailed("the pre-key was used too often")
    filled = header._replace(signed_pre_key=signed.pub, pre_key=key.pub)
    return exchange._replace(header=filled), signed, key.priv


def _newest(state: x3dh.BaseState, number: int) -> SignedPreKey:
    """Return the signed pre-key that the library made."""
    return _numbered(state.model.signed_pre_key, {}, number)


def _numbered(
    pair: SignedPreKeyPairModel, numbers: Mapping[bytes, int], otherwise: int
) -> SignedPreKey:
    pub = xeddsa.priv_to_curve25519_pub(pair.priv)
    return SignedPreKey(numbers.get(pub, otherwise), pair, pub)
