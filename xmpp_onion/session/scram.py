"""SCRAM, the client's side: a password proves itself without being sent.

Nothing here does I/O. slixmpp's own SCRAM has a predictable nonce, accepts any
number of iterations and hashes in Python; and it falls back to sending the
password, which this module cannot.

Source: RFC 5802; RFC 7677 (SHA-256).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from slixmpp.util.sasl.client import saslprep

from xmpp_onion.errors import AuthenticationError, FeatureMissingError

__all__ = ["MECHANISMS", "Challenge", "Scram", "choose_mechanism"]

# Strongest first. SHA-1 is not among them, nor anything that sends a password.
# Not -PLUS either: Python cannot bind to a TLS 1.3 channel (cpython#95341).
MECHANISMS: Final = MappingProxyType(
    {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256"}
)
# RFC 7677, section 4, asks for 4,096 at least. At the upper end one core is busy
# for about half a second; more is an attack on us.
MIN_ITERATIONS: Final = 4096
MAX_ITERATIONS: Final = 1_000_000
_NONCE_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server's first message asks for.

    Attributes:
        text: The message, as it came: the proof is made of it.
        nonce: Ours, and the server's behind it.
        salt: Goes into the password's hash.
        iterations: How often it is hashed: no fewer than is safe.
    """

    text: str
    nonce: str
    salt: bytes
    iterations: int


@dataclass(slots=True)
class Scram:
    """One attempt to log in.

    Args:
        mechanism: A name in :data:`MECHANISMS`.
        user: The local part of the JID.
        password: As typed.
        nonce: Random text; an argument so that tests can be exact.
    """

    mechanism: str
    user: str
    password: str = field(repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(_NONCE_BYTES))
    _server_signature: bytes = field(default=b"", init=False, repr=False)

    @property
    def _first_bare(self) -> str:
        # RFC 5802, section 5.1: "=" and "," are escaped in the name.
        name = self.user.replace("=", "=3D").replace(",", "=2C")
        return f"n={name},r={self.nonce}"

    def first_message(self) -> str:
        """Return the client's first message."""
        return f"n,,{self._first_bare}"

    def read_challenge(self, text: str) -> Challenge:
        """Return the server's first message, checked.

        Raises:
            AuthenticationError: It is malformed, does not extend our nonce, or
                asks for fewer iterations than are safe, or more than are sane.
        """
        fields = _fields(text)
        try:
            salt = base64.b64decode(fields["s"], validate=True)
            iterations = int(fields["i"]) if fields["i"].isascii() else 0
            nonce = fields["r"]
        except (KeyError, ValueError):
            raise _refused("its challenge is malformed") from None
        if "m" in fields or not salt:
            raise _refused("its challenge is malformed")
        if not nonce.startswith(self.nonce) or nonce == self.nonce:
            raise _refused("its challenge is an answer to somebody else")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise _refused(f"it asks for {iterations} iterations")
        return Challenge(text, nonce, salt, iterations)

    def answer(self, challenge: Challenge) -> str:
        """Return the client's final message. Slow on purpose: run it in a thread.

        Raises:
            AuthenticationError: The password cannot be one (RFC 4013).
        """
        algorithm = MECHANISMS[self.mechanism]
        try:
            password = saslprep(self.password).encode()
        except UnicodeError:
            raise AuthenticationError(
                "the password cannot be used",
                why="it has control characters, or mixes directions of writing",
                fix="Check how it was typed, or ask the operator for another.",
            ) from None  # what failed quotes it
        salted = hashlib.pbkdf2_hmac(
            algorithm, password, challenge.salt, challenge.iterations
        )
        client_key = hmac.digest(salted, b"Client Key", algorithm)
        server_key = hmac.digest(salted, b"Server Key", algorithm)
        stored_key = hashlib.new(algorithm, client_key).digest()
        bare = f"c=biws,r={challenge.nonce}"  # base64 of "n,,": no channel binding
        whole = f"{self._first_bare},{challenge.text},{bare}".encode()
        self._server_signature = hmac.digest(server_key, whole, algorithm)
        signature = hmac.digest(stored_key, whole, algorithm)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return f"{bare},p={base64.b64encode(proof).decode()}"

    def verify(self, text: str) -> None:
        """Check that the server knows the password too.

        Raises:
            AuthenticationError: It does not, or it has not been asked yet.
        """
        try:
            shown = base64.b64decode(_fields(text)["v"], validate=True)
        except (KeyError, ValueError):
            shown = b""
        known = self._server_signature
        if not known or not hmac.compare_digest(shown, known):
            raise _refused("it could not prove that it knows the password")


def choose_mechanism(offered: Iterable[str]) -> str:
    """Return the strongest mechanism that both sides have.

    Raises:
        FeatureMissingError: There is none. Nothing weaker is ever tried.
    """
    names = frozenset(offered)
    for mechanism in MECHANISMS:
        if mechanism in names:
            return mechanism
    raise FeatureMissingError(
        "the server offers no safe way to log in",
        feature="RFC 7677",
        why="SCRAM-SHA-256 is not among its mechanisms",
        fix='The operator sets password_hash = "SHA-256" in Prosody.',
    )


def _fields(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in text.split(","))


def _refused(why: str) -> AuthenticationError:
    return AuthenticationError(
        "the server's side of the login is not acceptable",
        why=why,
        fix="This may be an impostor: ask the operator before you try again.",
    )
