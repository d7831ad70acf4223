"""Our pre-keys as values: which are offered, which are used, and until when they serve.

The library takes the keys that others see from the secret ones anew each time:
200 times to begin one session. Here they lie beside each other.

A used pre-key is offered to nobody any more, but whoever fetched our bundle before
may take it too, and a message that was written to it would be lost. So it stays,
for a while after a bundle without it was published.
"""

import json
import secrets
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Self, cast

import xeddsa
from x3dh.models import SignedPreKeyPairModel

from xmpp_onion.e2ee.ratchet import write_bytes

__all__ = ["OFFERED", "PreKey", "PreKeys", "SignedPreKey"]

# Seconds for which a used pre-key serves after a bundle without it was published.
# Who fetched the older bundle may be a queue that waits for its network; a day
# holds most of them, and somebody who takes the file reads no more than the first
# messages of one day with it.
SERVES_FOR = 24 * 3600
# How many are offered at once (docs/adr/0019): the library offers 100, and asks for
# no less than 25. What others fetch before they can write to us, and what we publish
# after each first message, is a third of the bytes.
OFFERED = 25
# Used pre-keys that are kept, the newest: far more than are offered at once, so that
# all of one bundle serve until the next is published.
MOST_USED = 200
# Sessions that may be begun with one pre-key: 1,600 with one bundle, for strangers
# who write while we are away. A server that gives the same to everybody gets no
# further.
MOST_SESSIONS = 64


@dataclass(frozen=True, slots=True)
class PreKey:
    """A pre-key.

    Attributes:
        number: What others call it.
        priv: The secret key.
        pub: The public key.
        begun: The ephemeral keys of the sessions that were begun with it.
        withdrawn: When a bundle without it was published first, in seconds since
            1970; None if it is not yet.
    """

    number: int
    priv: bytes = field(repr=False)
    pub: bytes
    begun: tuple[bytes, ...] = ()
    withdrawn: int | None = None


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """A signed pre-key.

    Attributes:
        number: What others call it.
        pair: The library's.
        pub: The public key.
    """

    number: int
    pair: SignedPreKeyPairModel = field(repr=False)
    pub: bytes


@dataclass(slots=True)
class PreKeys:
    """The pre-keys of one device and namespace.

    Attributes:
        signed: The signed pre-key that is offered.
        old: The one before; who fetched our bundle then may still use it.
        offered: By public key.
        used: By public key, the oldest first.
        next_number: For the next pre-key.
    """

    signed: SignedPreKey
    old: SignedPreKey | None = None
    offered: dict[bytes, PreKey] = field(default_factory=dict)
    used: dict[bytes, PreKey] = field(default_factory=dict)
    next_number: int = 1

    def fill_up(self) -> None:
        """Draw new pre-keys until as many are offered as should be."""
        self.generate(OFFERED - len(self.offered))

    def generate(self, count: int) -> None:
        """Draw new pre-keys; none if ``count`` is negative."""
        for _ in range(count):
            priv = secrets.token_bytes(32)
            self.add(priv)

    def add(self, priv: bytes, number: int | None = None) -> None:
        """Offer a pre-key, under the next number unless it has one."""
        pub = xeddsa.priv_to_curve25519_pub(priv)
        if number is None:
            number = self.next_number
            self.next_number += 1
        self.offered[pub] = PreKey(number, priv, pub)

    def find(self, number: int) -> PreKey | None:
        """Return the pre-key that others call so, offered or used."""
        for key in (*self.offered.values(), *self.used.values()):
            if key.number == number:
                return key
        return None

    def find_signed(self, number: int) -> SignedPreKey | None:
        """Return the signed pre-key that others call so."""
        for key in (self.signed, self.old):
            if key is not None and key.number == number:
                return key
        return None

    def use(self, pub: bytes, ephemeral_key: bytes | None = None) -> bool:
        """Note that a session was begun with a pre-key; True if it was offered."""
        was_offered = pub in self.offered
        key = self.offered.pop(pub, None) or self.used.pop(pub, None)
        if key is not None:
            if ephemeral_key is not None and ephemeral_key not in key.begun:
                key = replace(key, begun=(*key.begun, ephemeral_key))
            self.used[pub] = key
            while len(self.used) > MOST_USED:
                del self.used[next(iter(self.used))]
        return was_offered

    def note_published(self, pre_keys: Iterable[bytes], now: int) -> bool:
        """Note that a bundle was published: the used ones that are not in it age.

        Returns:
            Whether that changed anything.
        """
        published = set(pre_keys)
        gone = [
            key
            for key in self.used.values()
            if key.withdrawn is None and key.pub not in published
        ]
        for key in gone:
            self.used[key.pub] = replace(key, withdrawn=now)
        return bool(gone)

    def expire(self, now: int) -> bool:
        """Forget the used pre-keys whose time is over; True if there were any.

        A clock that was put back makes them serve longer, not shorter.
        """
        over = [
            pub
            for pub, key in self.used.items()
            if key.withdrawn is not None and now - key.withdrawn > SERVES_FOR
        ]
        for pub in over:
            del self.used[pub]
        return bool(over)

    def write(self) -> str:
        """Return everything as JSON, private keys too."""
        return json.dumps(
            {
                "signed": _write_signed(self.signed),
                "old": _write_signed(self.old) if self.old else None,
                "next": self.next_number,
                "offered": [*map(_write, self.offered.values())],
                "used": [*map(_write, self.used.values())],
            },
            separators=(",", ":"),
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what :meth:`write` wrote."""
        found = cast("dict[str, object]", json.loads(text))
        signed = _read_signed(cast("str", found["signed"]))
        old = cast("str | None", found["old"])
        return cls(
            signed,
            _read_signed(old) if old else None,
            {key.pub: key for key in _read(cast("list[str]", found["offered"]))},
            {key.pub: key for key in _read(cast("list[str]", found["used"]))},
            cast("int", found["next"]),
        )


def _write(key: PreKey) -> str:
    withdrawn = "-" if key.withdrawn is None else str(key.withdrawn)
    parts = [write_bytes(key.priv), write_bytes(key.pub), *map(write_bytes, key.begun)]
    return " ".join((str(key.number), withdrawn, *parts))


def _read(texts: Iterable[str]) -> Iterator[PreKey]:
    for text in texts:
        number, withdrawn, *parts = text.split(" ")
        priv, pub, *begun = map(b64decode, parts)
        when = None if withdrawn == "-" else int(withdrawn)
        yield PreKey(int(number), priv, pub, tuple(begun), when)


def _write_signed(key: SignedPreKey) -> str:
    pair = key.pair
    parts = map(write_bytes, (pair.priv, pair.sig, key.pub))
    return " ".join((str(key.number), str(pair.timestamp), *parts))


def _read_signed(text: str) -> SignedPreKey:
    number, timestamp, *parts = text.split(" ")
    priv, sig, pub = map(b64decode, parts)
    pair = SignedPreKeyPairModel(priv=priv, sig=sig, timestamp=int(timestamp))
    return SignedPreKey(int(number), pair, pub)
