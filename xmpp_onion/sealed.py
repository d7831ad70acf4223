r"""A file that is encrypted while it is written, in constant memory.

::

    "xmpp-onion backup 1\n"                        or another form's first line
    {"kind": …, "salt": …, "wrapped": …}\n     how the key is opened: `Seal.values`
    chunk, chunk, … last chunk                AES-256-GCM, 64 KiB of content each

A chunk's nonce is its number and whether it is the last one, so none can be changed,
left out, moved or cut off; and each is authenticated with all that stands before the
first. The key is drawn for this file alone, which makes the numbers good nonces.

Source: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, section 7).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from xmpp_onion.errors import (
    ServerError,
    StoreCorruptError,
    StoreKeyError,
    XmppOnionError,
)
from xmpp_onion.seal import Kind, Seal, Secret

__all__ = ["ACCOUNT", "SERVER", "Form", "SealedReader", "SealedWriter"]


@dataclass(frozen=True, slots=True)
class Form:
    """What is in such a file.

    Attributes:
        noun: What it is called in an error.
        name: What it begins with, behind the name of this program.
        error: What is raised if it cannot be read.
    """

    noun: str
    name: str
    error: type[XmppOnionError]

    @property
    def family(self) -> bytes:
        """How all versions of this form begin."""
        return f"xmpp-onion {self.name} ".encode()

    @property
    def magic(self) -> bytes:
        """The first line."""
        return self.family + b"1\n"

    def unreadable(self, why: str) -> XmppOnionError:
        """Return the error that such a file cannot be read."""
        return self.error(
            f"the {self.noun} cannot be read", why=why, fix="Take another copy of it."
        )


SERVER: Final = Form("backup", "backup", ServerError)
"""What `xmpp-onion server backup` writes."""
ACCOUNT: Final = Form("exported account", "account", StoreCorruptError)
"""What `xmpp-onion export` writes."""

_HEADER_LIMIT_BYTES: Final = 4096
_CHUNK_BYTES: Final = 64 * 1024
_TAG_BYTES: Final = 16


class SealedWriter:
    """Encrypts what is written to it; `finish` writes the end.

    Args:
        file: Where it goes.
        secret: What opens it.
        form: What it is.
    """

    def __init__(self, file: BinaryIO, secret: Secret, form: Form = SERVER) -> None:
        seal = Seal.make(secret)
        header = form.magic + json.dumps(seal.values()).encode() + b"\n"
        file.write(header)
        self._file = file
        self._header = header
        self._cipher = AESGCM(seal.stream_key)
        self._waiting = bytearray()
        self._number = 0

    def write(self, data: bytes) -> int:
        """Take more of the content."""
        self._waiting += data
        while len(self._waiting) > _CHUNK_BYTES:  # the last one may be a full one
            self._put(bytes(self._waiting[:_CHUNK_BYTES]), is_last=False)
            del self._waiting[:_CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk; without it the file counts as cut off."""
        self._put(bytes(self._waiting), is_last=True)
        self._waiting.clear()

    def _put(self, chunk: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._number, is_last=is_last)
        self._file.write(self._cipher.encrypt(nonce, chunk, self._header))
        self._number += 1


class SealedReader:
    """Decrypts what `SealedWriter` wrote; nothing unauthentic ever leaves it.

    Args:
        file: What to read.
        find_secret: Asked for what opens it, once the file said which kind that is.
        form: What it has to be.

    Raises:
        StoreKeyError: It is another secret.
        XmppOnionError: The error of the form: it is none, or damaged.
    """

    def __init__(
        self,
        file: BinaryIO,
        find_secret: Callable[[Kind], Secret | None],
        form: Form = SERVER,
    ) -> None:
        self._form = form
        magic = file.readline(len(form.magic))
        if magic != form.magic:
            raise form.unreadable(
                "a newer xmpp-onion wrote it"
                if magic.startswith(form.family)
                else f"it is no {form.noun}"
            )
        text = file.readline(_HEADER_LIMIT_BYTES)
        try:
            values = json.loads(text)
            secret = find_secret(Kind(str(values["kind"])))
            if secret is None:
                raise StoreKeyError(
                    f"the {form.noun} cannot be opened",
                    why=f"it was encrypted with a {values['kind']}, and none was given",
                    fix=Kind(str(values["kind"])).how_to_give,
                )
            seal = Seal.open(values, secret)
        except (ValueError, LookupError, TypeError) as error:
            raise form.unreadable("its beginning is damaged") from error
        self._file = file
        self._header = magic + text
        self._cipher = AESGCM(seal.stream_key)
        self._ready = b""
        self._ahead = self._take()
        self._number = 0
        self._is_over = False

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, and none at the true end only."""
        while not self._ready and not self._is_over:
            self._next()
        size = len(self._ready) if size < 0 else size
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def finish(self) -> None:
        """Read to the end, so that a file that was cut off is noticed.

        Raises:
            XmppOnionError: The error of the form: it was, or something was added.
        """
        while not self._is_over:
            self._next()

    def _next(self) -> None:
        chunk, self._ahead = self._ahead, self._take()
        self._is_over = not self._ahead
        nonce = _nonce(self._number, is_last=self._is_over)
        try:
            self._ready = self._cipher.decrypt(nonce, chunk, self._header)
        except InvalidTag:
            raise self._form.unreadable(
                f"it is damaged, cut off or changed in its part {self._number}"
            ) from None
        self._number += 1

    def _take(self) -> bytes:
        return self._file.read(_CHUNK_BYTES + _TAG_BYTES)


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
