"""What the library's two OMEMO backends have in common when they are made to last.

The two namespaces have the same classes with the same names in two packages: which
they are is in ``local_oldmemo.py`` and ``local_twomemo.py``, what is done with them in
``local.py``, what can be said of any backend in ``lasting.py`` and ``agreement.py``.
"""

import contextlib
from collections.abc import Iterator
from functools import lru_cache

import doubleratchet
import omemo
import x3dh
import xeddsa

from xmpp_onion.e2ee.agreement import LIBRARY_ERRORS

__all__ = [
    "SKIPPED",
    "SPENT",
    "LocalState",
    "agreement_errors",
    "curve_form",
    "decryption_errors",
]

SKIPPED = 1000
"""Skipped message keys that are kept for a session, and that one message may skip.

The library's own bound.
"""

SPENT = "/xmpp-onion/spent-pre-keys"
"""Where an earlier version kept the list of used pre-keys."""

_FIRST_MESSAGE_ERRORS: tuple[type[Exception], ...] = (
    *LIBRARY_ERRORS,
    doubleratchet.DoSProtectionException,
)


# It takes as long as an agreement on a secret. Of as many devices as sessions are
# kept in memory.
@lru_cache(maxsize=1024)
def curve_form(identity_key: bytes) -> bytes:
    """Return the Curve25519 form of an identity key, which other clients show.

    Args:
        identity_key: 32 bytes in Ed25519 form, as the library keeps it.
    """
    return xeddsa.ed25519_pub_to_curve25519_pub(identity_key)


class LocalState(x3dh.BaseState):
    """The library's key agreement, which knows our public identity key.

    Attributes:
        identity_key: Its Ed25519 form. The library derives it, and the public keys
            of all pre-keys, for each session.
    """

    identity_key: bytes

    @property
    def bundle(self) -> x3dh.Bundle:
        """Return our identity key; nothing else of it is asked for."""
        return x3dh.Bundle(self.identity_key, b"", b"", frozenset())


@contextlib.contextmanager
def agreement_errors() -> Iterator[None]:
    """Make the library's errors of a key agreement one that it expects."""
    try:
        yield
    except LIBRARY_ERRORS as cause:
        raise omemo.KeyExchangeFailed("the keys do not agree") from cause


@contextlib.contextmanager
def decryption_errors() -> Iterator[None]:
    """Make the library's errors of a first message one that it expects."""
    try:
        yield
    except _FIRST_MESSAGE_ERRORS as cause:
        raise omemo.DecryptionFailed("the first message does not fit") from cause
