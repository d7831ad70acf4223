"""How we prove who we are: by a password that is not sent, or by a token.

Nothing here does I/O. Both prove something in return: who answers has the password,
or the token, too.

Source: RFC 5802 (SCRAM); XEP-0484 and draft-schmaus-kitten-sasl-ht (tokens).
"""

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import Final, Protocol

from xmpp_onion.errors import AuthenticationError
from xmpp_onion.session.scram import Scram

__all__ = ["TOKEN_MECHANISM", "PasswordProof", "Proof", "TokenProof"]

# Not one of those that bind it to TLS: Python cannot with TLS 1.3 (cpython#95341),
# and most onions have none inside. Who sees the stream could use the token again;
# that is only who has the service's key.
TOKEN_MECHANISM: Final = "HT-SHA-256-NONE"  # noqa: S105 - a name


class Proof(Protocol):
    """One attempt to log in."""

    @property
    def mechanism(self) -> str:
        """What the server calls it."""

    def first(self) -> bytes:
        """Return what is said first."""

    async def answer(self, challenge: bytes) -> bytes:
        """Return what the server wants to know.

        Raises:
            AuthenticationError: That is not asked in this mechanism, or not so.
        """

    def verify(self, shown: bytes) -> None:
        """Check that the server knows the secret too.

        Raises:
            AuthenticationError: It does not.
        """


@dataclass(slots=True)
class PasswordProof:
    """SCRAM.

    Args:
        scram: The attempt.
    """

    scram: Scram

    @property
    def mechanism(self) -> str:
        """What the server calls it."""
        return self.scram.mechanism

    def first(self) -> bytes:
        """Return the client's first message."""
        return self.scram.first_message().encode()

    async def answer(self, challenge: bytes) -> bytes:
        """Return the client's final message.

        Raises:
            AuthenticationError: The challenge is malformed, or not for us.
        """
        read = self.scram.read_challenge(_text(challenge))
        # Up to half a second of hashing: not in the event loop.
        return (await asyncio.to_thread(self.scram.answer, read)).encode()

    def verify(self, shown: bytes) -> None:
        """Check the server's signature.

        Raises:
            AuthenticationError: It is not the server's.
        """
        self.scram.verify(_text(shown))


@dataclass(frozen=True, slots=True)
class TokenProof:
    """A token that the server gave this device after an earlier login.

    Args:
        user: The local part of the JID.
        token: As it was given.
    """

    user: str
    token: str = field(repr=False)

    @property
    def mechanism(self) -> str:
        """What the server calls it."""
        return TOKEN_MECHANISM

    def first(self) -> bytes:
        """Return the whole of it: there is no challenge."""
        return self.user.encode() + b"\0" + self._mac(b"Initiator")

    async def answer(self, challenge: bytes) -> bytes:
        """Refuse: whoever asks for more is not a server that we know.

        Raises:
            AuthenticationError: Always.
        """
        del challenge
        raise AuthenticationError(
            "the server asks for more than a token proves",
            fix="This may be an impostor: ask the operator before you try again.",
        )

    def verify(self, shown: bytes) -> None:
        """Check that the server has the token, too.

        Raises:
            AuthenticationError: It does not.
        """
        if not hmac.compare_digest(shown, self._mac(b"Responder")):
            raise AuthenticationError(
                "the server could not prove that it knows our token",
                fix="This may be an impostor: ask the operator before you try again.",
            )

    def _mac(self, label: bytes) -> bytes:
        return hmac.digest(self.token.encode(), label, "sha256")


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise AuthenticationError(
            "the server's login messages are malformed",
            fix="This may be no XMPP server: ask its operator.",
        ) from None
