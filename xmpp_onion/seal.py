"""Encryption at rest: from a passphrase or a key file to the keys of an account.

::

    passphrase ── Argon2id ──┐
                             ├─► wraps (RFC 3394) ─► key of the account, drawn once
    key file ──── HKDF ──────┘                           │
                                             HKDF ┌──────┴──────┐
                                            store.sqlite3   account.toml

The key of the account is random, so another passphrase does not touch the data.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_wrap,
)

from xmpp_onion import private
from xmpp_onion.errors import StoreError, StoreKeyError

__all__ = ["Kind", "Seal", "Secret"]

_KEY_BYTES = 32
_SALT_BYTES = 16
_NONCE_BYTES = 12
# RFC 9106, section 4, second recommended option: 64 MiB, 3 passes, 4 lanes.
_MEMORY_KIB = 64 * 1024
_PASSES = 3
_LANES = 4
# A header from elsewhere must not eat the memory or the week.
_MEMORY_LIMIT_KIB = 1024 * 1024
_PASSES_LIMIT = 64
_LANES_LIMIT = 64
# Less than this cannot hold a key, more is not one.
_FILE_MIN_BYTES = 32
_FILE_LIMIT_BYTES = 64 * 1024
_PASSPHRASE_LIMIT_BYTES = 4096


class Kind(StrEnum):
    """What an account is opened with."""

    PASSPHRASE = "passphrase"  # noqa: S105 - the name of a kind
    KEY_FILE = "key-file"

    @property
    def variable(self) -> str:
        """The environment variable that names a file with it."""
        is_file = self is Kind.KEY_FILE
        return "XMPP_ONION_KEY_FILE" if is_file else "XMPP_ONION_PASSPHRASE_FILE"

    @property
    def how_to_give(self) -> str:
        """What to type."""
        option = "key-file F" if self is Kind.KEY_FILE else "passphrase-file F"
        return f"Give it with --{option}, or name its file in ${self.variable}"


@dataclass(frozen=True, slots=True)
class Secret:
    """What a person or a machine opens an account with. Not in any repr.

    Attributes:
        kind: A passphrase or a key.
    """

    kind: Kind
    _content: bytes = field(repr=False)

    @classmethod
    def passphrase(cls, text: str) -> Self:
        """Return a passphrase as a secret.

        Raises:
            StoreKeyError: It is empty, or no passphrase any more.
        """
        content = text.encode("utf-8", "surrogateescape")
        if not 0 < len(content) <= _PASSPHRASE_LIMIT_BYTES:
            raise StoreKeyError(
                "this cannot be a passphrase",
                why=f"it has {len(content)} bytes; 1 to {_PASSPHRASE_LIMIT_BYTES} can",
                fix="Take another; six random words are a good one.",
            )
        return cls(Kind.PASSPHRASE, content)

    @classmethod
    def read(cls, kind: Kind, path: Path, *, is_trusted_place: bool = False) -> Self:
        """Return what a file holds: a passphrase, its first line; or a key, all of it.

        Args:
            kind: Which of both. A key has to be drawn, not thought up.
            path: The file.
            is_trusted_place: Somebody else looks after the mode of the file, as
                systemd does for its credentials.

        Raises:
            StoreKeyError: There is none, or it is too short or too long.
            StorePermissionError: Others can read it.
        """
        try:
            if is_trusted_place:
                with private.os_errors(path, verb="read"), path.open("rb") as file:
                    content = file.read(_FILE_LIMIT_BYTES + 1)
            else:
                content = private.read_bytes(path, _FILE_LIMIT_BYTES + 1)
        except FileNotFoundError:
            raise StoreKeyError(
                f"there is no {kind} in {path}",
                why="there is no such file",
                fix="Check its name",
            ) from None
        if kind is Kind.PASSPHRASE:
            line = content.partition(b"\n")[0].rstrip(b"\r")
            return cls.passphrase(line.decode("utf-8", "surrogateescape"))
        if not _FILE_MIN_BYTES <= len(content) <= _FILE_LIMIT_BYTES:
            raise StoreKeyError(
                f"{path} cannot be a key file",
                why=f"a key file has {_FILE_MIN_BYTES} to {_FILE_LIMIT_BYTES} bytes",
                fix="Make one: (umask 077; head -c 32 /dev/urandom > FILE)",
            )
        return cls(kind, content)

    def reveal(self) -> str:
        """Return a passphrase as text, for a keyring to keep; never for a person.

        Raises:
            StoreKeyError: It is a key, or no text.
        """
        try:
            if self.kind is Kind.PASSPHRASE:
                return self._content.decode()
        except UnicodeDecodeError:
            pass
        raise StoreKeyError(
            f"this {self.kind} cannot be kept in a keyring",
            why="it is no text",
            fix="Encrypt the account with a passphrase: xmpp-onion account passphrase",
        )

    def derive(self, header: "_Header") -> bytes:
        """Return the key that wraps the account's. Slow for a passphrase."""
        if header.kind is Kind.KEY_FILE:
            return _expand(self._content, b"xmpp-onion key file", salt=header.salt)
        return Argon2id(
            salt=header.salt,
            length=_KEY_BYTES,
            iterations=header.passes,
            lanes=header.lanes,
            memory_cost=header.memory_kib,
        ).derive(self._content)


@dataclass(frozen=True, slots=True)
class _Header:
    """What may be known to everybody: how the wrapping key is derived."""

    kind: Kind
    salt: bytes
    memory_kib: int = _MEMORY_KIB
    passes: int = _PASSES
    lanes: int = _LANES

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Self:
        """Read it, and refuse what would take too long. Raises ValueError."""
        header = cls(
            Kind(str(values["kind"])),
            _decode(values["salt"]),
            _number(values["memory_kib"], _MEMORY_LIMIT_KIB),
            _number(values["passes"], _PASSES_LIMIT),
            _number(values["lanes"], _LANES_LIMIT),
        )
        if len(header.salt) < _SALT_BYTES or header.memory_kib < 8 * header.lanes:
            raise ValueError("a salt or a memory that is too small")
        return header


@dataclass(frozen=True, slots=True)
class Seal:
    """An account's keys, opened, and what they are kept wrapped in.

    Two of the same account are equal.

    Attributes:
        kind: What it is opened with.
    """

    _header: _Header
    _wrapped: bytes
    _key: bytes = field(repr=False)

    @classmethod
    def make(cls, secret: Secret) -> Self:
        """Draw the key of a new account and wrap it."""
        return cls._wrap(secret, secrets.token_bytes(_KEY_BYTES))

    def change(self, secret: Secret) -> Self:
        """Return the same key, wrapped in another secret.

        Who has the old secret and an old account.toml still has the key.
        """
        return self._wrap(secret, self._key)

    @classmethod
    def _wrap(cls, secret: Secret, key: bytes) -> Self:
        header = _Header(secret.kind, secrets.token_bytes(_SALT_BYTES))
        return cls(header, aes_key_wrap(secret.derive(header), key), key)

    @classmethod
    def open(cls, values: Mapping[str, object], secret: Secret) -> Self:
        """Open what ``values()`` returned.

        Raises:
            StoreKeyError: It is another secret, or one of the other kind.
            ValueError: Or KeyError, TypeError: it is not what ``values()`` returned.
        """
        header, wrapped = _Header.parse(values), _decode(values["wrapped"])
        if secret.kind is not header.kind:
            raise StoreKeyError(
                f"a {secret.kind} does not open this account",
                why=f"it was encrypted with a {header.kind}",
                fix=header.kind.how_to_give,
            )
        try:
            key = aes_key_unwrap(secret.derive(header), wrapped)
        except InvalidUnwrap:
            raise StoreKeyError(
                f"the {header.kind} is wrong",
                why="what it should open stays closed",
                fix="Try again; nothing was changed.",
            ) from None
        except MemoryError:
            raise StoreError(
                "the passphrase cannot be checked",
                why=f"it takes {header.memory_kib // 1024} MiB of memory",
                fix="Close something, then try again.",
            ) from None
        if len(key) != _KEY_BYTES:
            raise ValueError("a key of another length")
        return cls(header, wrapped, key)

    @property
    def kind(self) -> Kind:
        """What it is opened with."""
        return self._header.kind

    @property
    def store_key(self) -> bytes:
        """The key of the SQLite file."""
        return _expand(self._key, b"xmpp-onion store")

    @property
    def stream_key(self) -> bytes:
        """The key of one file that is written once, with a seal of its own."""
        return _expand(self._key, b"xmpp-onion stream")

    def values(self) -> dict[str, str | int]:
        """Return what has to be kept; it may be known to everybody."""
        header = self._header
        return {
            "kind": str(header.kind),
            "salt": _encode(header.salt),
            "memory_kib": header.memory_kib,
            "passes": header.passes,
            "lanes": header.lanes,
            "wrapped": _encode(self._wrapped),
        }

    def encrypt(self, text: str) -> str:
        """Return a text encrypted, in base64 (AES-256-GCM, a fresh nonce each time)."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _encode(nonce + self._cipher().encrypt(nonce, text.encode(), None))

    def decrypt(self, text: str) -> str:
        """Return what ``encrypt()`` was given.

        Raises:
            ValueError: It was changed.
        """
        data = _decode(text)
        nonce, rest = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            return self._cipher().decrypt(nonce, rest, None).decode()
        except InvalidTag as error:
            raise ValueError("it was changed") from error

    def _cipher(self) -> AESGCM:
        return AESGCM(_expand(self._key, b"xmpp-onion account"))


def _expand(key: bytes, purpose: bytes, *, salt: bytes | None = None) -> bytes:
    return HKDF(SHA256(), length=_KEY_BYTES, salt=salt, info=purpose).derive(key)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _number(value: object, limit: int) -> int:
    if not isinstance(value, int) or not 0 < value <= limit:
        raise ValueError(f"a number from 1 to {limit} is expected")
    return value
