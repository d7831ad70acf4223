"""Where a server went: a document that its old name and its new one both signed.

An onion name is a public key, so whoever knows the old name can judge the document,
wherever it came from, and with nothing else. The old key says that its people are to
go there; the new key says that it takes them, so that nobody is sent to a stranger's
server that knows nothing of it.

The text is the base64 of both signatures and of a JSON object in the one form that
`Move.write` gives it: sorted, without spaces, ASCII.

Source: docs/adr/0031-moving-to-another-onion.md; RFC 8032 for the signatures.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.errors import InvalidMoveError, InvalidOnionAddressError

__all__ = ["LIMIT", "MOVED", "Move"]

MOVED: Final = "urn:xmpp-onion:moved:0"
"""The namespace of the element ``moved``, whose text a document is."""

# What stands before all that is signed: Tor signs with the same keys, and nothing of
# Tor's begins so (certificates with a version, descriptors with their own words).
_CONTEXT: Final = b"xmpp-onion: a server has moved, version 1\n\0"
_SIGNATURE_BYTES: Final = 64
LIMIT: Final = 1024
"""Letters that a document has at most: two names, a date, a hash and two signatures
are 430 bytes, and 580 letters of base64."""
# Clocks of servers and guests disagree; a date of next year would outlive each later
# one.
_AHEAD: Final = timedelta(days=1)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Move:
    """A server's move, as both of its names signed it.

    Attributes:
        old: The name that it had.
        new: The name that it has.
        at: When it was signed, in UTC; of two moves from one name the later counts.
        certificate: SHA-256 of the certificate that it shows, 64 hex digits.
        document: The text that says all of it.
    """

    old: OnionAddress
    new: OnionAddress
    at: datetime
    certificate: str
    document: str = field(repr=False)

    @classmethod
    def write(
        cls,
        old: OnionAddress,
        new: OnionAddress,
        *,
        at: datetime,
        certificate: str,
        sign: Callable[[OnionAddress, bytes], bytes],
    ) -> Self:
        """Return a move that is signed now.

        Args:
            old: The name that it had.
            new: The name that it has.
            at: When.
            certificate: See the attribute.
            sign: Returns a signature of 64 bytes by the key of a name (Ed25519).
        """
        body = _body(old, new, at, certificate)
        signatures = b"".join(sign(name, _CONTEXT + body) for name in (old, new))
        document = base64.b64encode(signatures + body).decode("ascii")
        return cls(old, new, at.replace(microsecond=0), certificate, document)

    @classmethod
    def read(cls, document: str, *, old: OnionAddress, now: datetime) -> Self:
        """Return the move that a document tells, once both signatures are good.

        Args:
            document: What came, from whoever it may be.
            old: Whose move it has to be: the server that we know.
            now: The time, which no document may be a day ahead of.

        Raises:
            InvalidMoveError: It is not one, of another server, or forged.
        """
        signatures, body = _split(document)
        move = cls._parse(body, document)
        if move.old != old:
            raise _refused("it is about another server")
        if move.at > now + _AHEAD:
            raise _refused("it was signed in the future")
        for name, signature in zip((move.old, move.new), signatures, strict=True):
            _verify(name, signature, _CONTEXT + body)
        return move

    def rename(self, jid: JID) -> JID:
        """Return the same account, room or server under the new name.

        What lives elsewhere stays as it is.
        """
        return JID(self.rename_text(jid))

    def rename_text(self, text: str) -> str:
        """Return a text with the new name wherever the old one is in it."""
        return text.replace(_label(self.old), _label(self.new))

    @classmethod
    def _parse(cls, body: bytes, document: str) -> Self:
        try:
            found = json.loads(body)
            old, new = OnionAddress(found["old"]), OnionAddress(found["new"])
            at = datetime.strptime(found["at"], _TIME).replace(tzinfo=UTC)
            certificate = str(found["certificate"])
            again = _body(old, new, at, certificate)
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
            InvalidOnionAddressError,
        ):
            raise _refused("it does not say who went where") from None
        # One form alone: what is judged is what was signed, to the letter.
        if again != body or not _SHA256.fullmatch(certificate):
            raise _refused("it is not in the one form that it has to have")
        if old == new or {old, new} != {old.service, new.service}:
            raise _refused("it leads nowhere")
        return cls(old, new, at, certificate, document)


def _label(name: OnionAddress) -> str:
    """Return 56 letters that occur nowhere else."""
    return name.removesuffix(".onion")


def _body(old: OnionAddress, new: OnionAddress, at: datetime, sha256: str) -> bytes:
    said = {
        "v": 1,
        "old": old,
        "new": new,
        "at": at.astimezone(UTC).strftime(_TIME),
        "certificate": sha256,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode("ascii")


def _split(document: str) -> tuple[tuple[bytes, bytes], bytes]:
    text = document.strip()
    if len(text) > LIMIT:
        raise _refused("it is too long")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused("it is not in base64") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise _refused("it is not in base64")
    both = 2 * _SIGNATURE_BYTES
    return (data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:both]), data[both:]


def _verify(name: OnionAddress, signature: bytes, said: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(name.public_key).verify(signature, said)
    except (InvalidSignature, ValueError):
        raise _refused(f"{name.short} did not sign it") from None


def _refused(why: str) -> InvalidMoveError:
    return InvalidMoveError(
        "what says that a server moved does not count",
        why=why,
        fix="Nothing was changed. Ask the operator over another channel.",
    )
