"""The library's Double Ratchet, made to stay in memory and to be written shortly.

No cryptography is here. The library copies a ratchet deeply for each message that
it decrypts, derives its public key for each that it encrypts, and writes all
skipped message keys with each. So here a copy shares what never changes, a public
key is derived once, and the skipped keys lie outside, in pieces that are written
when they change.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import ClassVar, Self, TypeVar, cast

import doubleratchet
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from doubleratchet.kdf_chain import KDFChain
from doubleratchet.models import (
    DiffieHellmanRatchetModel,
    DoubleRatchetModel,
    KDFChainModel,
    SkippedMessageKeyModel,
    SymmetricKeyRatchetModel,
)
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import (
    DiffieHellmanRatchet,
)
from doubleratchet.symmetric_key_ratchet import SymmetricKeyRatchet

__all__ = ["Curve", "Parts", "Ratchet", "Skipped", "write_bytes"]

# Keys in one piece: few enough that using one up rewrites little, enough that
# 1,000 of them are not 1,000 rows.
_PIECE = 32

_Place = tuple[bytes, int]
"""The ratchet key of a chain, and a number in it."""

_T = TypeVar("_T")

Parts = tuple[
    type[DiffieHellmanRatchet],
    type[doubleratchet.KDF],
    type[doubleratchet.KDF],
    bytes,
    int,
    int,
    type[doubleratchet.AEAD],
]
"""What the library makes a ratchet of: the curve, the two chains, the constant of the
second, how many keys may be skipped by a message and kept, and the cipher."""


class Curve(DiffieHellmanRatchet):
    """The part of a ratchet that is copied for each message that is decrypted.

    The library makes its secret key of bytes anew for each use, and each time its
    public key is derived with it. Here the key that was made last is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[bytes, X25519PrivateKey] | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return _twin(self)

    # The library calls these on itself, and only so can a key be kept.

    def _generate_priv(self) -> bytes:  # type: ignore[override] # see above
        key = X25519PrivateKey.generate()
        priv = key.private_bytes_raw()
        self._kept = priv, key
        return priv

    def _derive_pub(self, priv: bytes) -> bytes:  # type: ignore[override] # see above
        return self._key(priv).public_key().public_bytes_raw()

    def _perform_diffie_hellman(  # type: ignore[override] # see above
        self, own_priv: bytes, other_pub: bytes
    ) -> bytes:
        other = X25519PublicKey.from_public_bytes(other_pub)
        return self._key(own_priv).exchange(other)

    def _key(self, priv: bytes) -> X25519PrivateKey:
        if self._kept is None or self._kept[0] != priv:
            self._kept = priv, X25519PrivateKey.from_private_bytes(priv)
        return self._kept[1]


def _twin(original: _T) -> _T:
    """Copy an object of the library and those in it that change in their place."""
    twin = object.__new__(type(original))
    parts = vars(twin)
    parts.update(vars(original))
    for name, value in parts.items():
        if isinstance(value, _CHANGING):
            parts[name] = _twin(value)
    return twin


_CHANGING = (KDFChain, SymmetricKeyRatchet)


class Skipped:
    """The keys of messages that were skipped, the oldest first, in numbered pieces.

    Attributes:
        first: The number of the first piece.
        end: The number behind the last piece.
        changes: How often a key came or went.
    """

    def __init__(self, first: int = 0, end: int = 0, changes: int = 0) -> None:
        self.first, self.end, self.changes = first, end, changes
        self._pieces: dict[int, dict[_Place, bytes]] = {}
        self._piece_of: dict[_Place, int] = {}
        self._dirty: set[int] = set()

    def __len__(self) -> int:
        return len(self._piece_of)

    def get(self, place: _Place) -> bytes | None:
        """Return the key of a message, or None if it was not skipped."""
        piece = self._piece_of.get(place)
        return None if piece is None else self._pieces[piece][place]

    def add(self, place: _Place, key: bytes) -> None:
        """Keep a key as the newest."""
        self.remove(place)
        last = self._pieces.get(self.end - 1)
        if last is None or len(last) >= _PIECE:
            last = self._pieces[self.end] = {}
            self.end += 1
        last[place] = key
        self._note(place, self.end - 1)

    def remove(self, place: _Place) -> None:
        """Forget a key."""
        piece = self._piece_of.pop(place, None)
        if piece is None:
            return
        del self._pieces[piece][place]
        self._dirty.add(piece)
        self.changes += 1
        self._tidy()

    def limit(self, most: int) -> None:
        """Forget the oldest keys until there are no more than ``most``."""
        while len(self._piece_of) > most:
            oldest = next(piece for piece in self._pieces.values() if piece)
            self.remove(next(iter(oldest)))

    def take_changed(self) -> Iterator[tuple[int, str | None]]:
        """Yield the pieces that changed since the last call; None for one that went."""
        for number in sorted(self._dirty):
            piece = self._pieces.get(number)
            yield number, _write_piece(piece) if piece else None
        self._dirty.clear()

    def load(self, number: int, text: str) -> None:
        """Take a piece as it was written; in the order of their numbers."""
        piece = self._pieces[number] = _read_piece(text)
        self._piece_of.update(dict.fromkeys(piece, number))

    def _note(self, place: _Place, piece: int) -> None:
        self._piece_of[place] = piece
        self._dirty.add(piece)
        self.changes += 1

    def _tidy(self) -> None:
        for number in list(self._pieces):
            if self._pieces[number]:
                break
            del self._pieces[number]
        self.first = next(iter(self._pieces), self.end)


def _write_piece(piece: dict[_Place, bytes]) -> str:
    return json.dumps(
        [[write_bytes(pub), n, write_bytes(key)] for (pub, n), key in piece.items()],
        separators=(",", ":"),
    )


def _read_piece(text: str) -> dict[_Place, bytes]:
    rows = cast("list[tuple[str, int, str]]", json.loads(text))
    return {(b64decode(pub), n): b64decode(key) for pub, n, key in rows}


class Ratchet(doubleratchet.DoubleRatchet):
    """A Double Ratchet whose skipped keys lie outside of the library's object.

    Attributes:
        parts: What the library makes it of, as it wants that.
        skipped: Their keys. The library finds out about one when it is wanted.
        origin: How its session was begun, as it is written; it never changes.
    """

    parts: ClassVar[Parts]

    def __init__(self) -> None:
        super().__init__()
        self.skipped = Skipped()
        self.origin = ""

    async def decrypt_message(
        self, message: doubleratchet.EncryptedMessage, associated_data: bytes
    ) -> bytes:
        """Decrypt; nothing changes if that fails."""
        header = message.header
        place = header.ratchet_pub, header.sending_chain_length
        key = self.skipped.get(place)
        if key is None:
            return await super().decrypt_message(message, associated_data)
        model = self.model
        model.skipped_message_keys = [_skipped_model(place, key)]
        plain = await self.restore(model).decrypt_message(message, associated_data)
        self.skipped.remove(place)
        return plain

    @classmethod
    def restore(cls, model: DoubleRatchetModel) -> Self:
        """Return a ratchet with a state."""
        return cls.from_model(model, *cls.parts)

    @classmethod
    async def begin(
        cls, secret: bytes, signed_pre_key: bytes, text: bytes, associated_data: bytes
    ) -> tuple[Self, doubleratchet.EncryptedMessage]:
        """Return a ratchet that somebody is written to with, and the first message."""
        return await cls.encrypt_initial_message(
            *cls.parts, secret, signed_pre_key, text, associated_data
        )

    @classmethod
    async def accept(
        cls,
        secret: bytes,
        signed_pre_key_priv: bytes,
        message: doubleratchet.EncryptedMessage,
        associated_data: bytes,
    ) -> tuple[Self, bytes]:
        """Return the ratchet that a first message began, and what that says."""
        return await cls.decrypt_initial_message(
            *cls.parts, secret, signed_pre_key_priv, message, associated_data
        )

    def write(self, most: int) -> list[str | int | None]:
        """Return its state as values for JSON, the skipped keys only counted.

        Args:
            most: How many skipped keys are kept.
        """
        model = self.model
        if model.skipped_message_keys:
            for skipped in model.skipped_message_keys:
                place = skipped.ratchet_pub, skipped.index
                self.skipped.add(place, skipped.message_key)
            self.skipped.limit(most)
            model.skipped_message_keys = []
            emptied = vars(self.restore(model))
            vars(self).update(emptied, skipped=self.skipped, origin=self.origin)
        curve = model.diffie_hellman_ratchet
        chains = curve.symmetric_key_ratchet
        return [
            write_bytes(curve.own_ratchet_priv),
            write_bytes(curve.other_ratchet_pub),
            *_write_chain(curve.root_chain),
            *_write_chain(chains.receiving_chain),
            *_write_chain(chains.sending_chain),
            chains.previous_sending_chain_length,
            self.skipped.first,
            self.skipped.end,
            self.skipped.changes,
        ]

    @classmethod
    def read(cls, values: list[str | int | None]) -> Self:
        """Return the ratchet that :meth:`write` wrote, still without skipped keys."""
        own, other = _bytes(values[0]), _bytes(values[1])
        root, receiving, sending = (_read_chain(values[i : i + 2]) for i in (2, 4, 6))
        if root is None:
            raise ValueError("a ratchet without a root chain")
        ratchet = cls.restore(
            DoubleRatchetModel(
                diffie_hellman_ratchet=DiffieHellmanRatchetModel(
                    own_ratchet_priv=own,
                    other_ratchet_pub=other,
                    root_chain=root,
                    symmetric_key_ratchet=SymmetricKeyRatchetModel(
                        receiving_chain=receiving,
                        sending_chain=sending,
                        previous_sending_chain_length=_number(values[8]),
                    ),
                ),
                skipped_message_keys=[],
            )
        )
        first, end, changes = (_number(value) or 0 for value in values[9:12])
        ratchet.skipped = Skipped(first, end, changes)
        return ratchet


def write_bytes(data: bytes) -> str:
    """Return bytes as text for JSON."""
    return b64encode(data).decode("ascii")


def _write_chain(chain: KDFChainModel | None) -> tuple[str | None, int]:
    return (None, 0) if chain is None else (write_bytes(chain.key), chain.length)


def _read_chain(values: list[str | int | None]) -> KDFChainModel | None:
    key, length = values
    if key is None:
        return None
    return KDFChainModel(key=_bytes(key), length=_number(length) or 0)


def _bytes(value: str | int | None) -> bytes:
    if not isinstance(value, str):
        raise TypeError("not bytes as text")
    return b64decode(value)


def _number(value: str | int | None) -> int | None:
    if isinstance(value, str):
        raise TypeError("not a number")
    return value


def _skipped_model(place: _Place, key: bytes) -> SkippedMessageKeyModel:
    pub, number = place
    return SkippedMessageKeyModel(ratchet_pub=pub, index=number, message_key=key)
