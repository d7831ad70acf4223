"""Onion services that let in only clients whose key they know.

The service encrypts what it publishes for those keys. Who has none of them learns
neither whether it runs nor where it could be met (Tor rendezvous specification v3,
"client authorization").
"""

import base64
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    ClientAuthorizationError,
    ControlPortError,
    DialError,
    InvalidOnionAddressError,
)
from xmpp_onion.transport.replies import GONE, NO_KEY

if TYPE_CHECKING:
    from xmpp_onion.transport.control import Control

__all__ = [
    "Admission",
    "Admissions",
    "ClientKey",
    "make_client_key",
]

# An x25519 key of 32 bytes in base32, as Tor's own files have it; without padding.
_KEY: Final = re.compile(r"[A-Z2-7]{51}[AQ]")

DialIt: TypeAlias = Callable[[OnionAddress], Awaitable[socket.socket]]
"""Dials an address; raises `DialError`."""


class ClientKey(NamedTuple):
    """The two halves of a client's key, in base32.

    Attributes:
        public: For the service.
        private: For the client alone.
    """

    public: str
    private: str


def make_client_key() -> ClientKey:
    """Return a new key for one client."""
    key = X25519PrivateKey.generate()
    return ClientKey(
        _base32(key.public_key().public_bytes_raw()), _base32(key.private_bytes_raw())
    )


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=")


@dataclass(frozen=True, slots=True)
class Admission:
    """How a service is reached that not everybody finds.

    Attributes:
        address: What is dialed: the service itself, or another door of it.
        key: The client's private half, in base32. A credential.
    """

    address: OnionAddress
    key: str = field(repr=False)

    @classmethod
    def read(cls, address: OnionAddress, key: str) -> Self:
        """Check a key that came as text, in either case.

        Raises:
            ValueError: It is none; what it is stays out of the error.
        """
        upper = key.upper()
        # ASCII first: upper() makes letters of other signs.
        if not key.isascii() or not _KEY.fullmatch(upper):
            raise ValueError("not a client authorization key")
        return cls(address, upper)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read what `torrc_line` wrote, or somebody's Tor.

        Raises:
            ValueError: It is none; what it is stays out of the error.
        """
        label, *kinds, key = line.split(":")
        if kinds != ["descriptor", "x25519"]:
            raise ValueError("it does not read NAME:descriptor:x25519:KEY")
        try:
            address = OnionAddress(f"{label}.onion")
        except InvalidOnionAddressError as error:
            raise ValueError(f"its onion: {error.why}") from None
        return cls.read(address, key)

    async def tell(self, control: "Control") -> None:
        """Give Tor the key (control-spec, ONION_CLIENT_AUTH_ADD).

        For each dial: a Tor that was restarted has forgotten, and so has one that was
        asked for a new identity, by whomever; another account may have given it
        another key for the same service.

        Raises:
            ControlPortError: Tor does not take it.
            TorNotRunningError: Tor has ended.
        """
        raw = base64.b32decode(self.key + "====")
        key = base64.b64encode(raw).decode("ascii")
        name = _label(self.address)
        try:
            await control.ask(f"ONION_CLIENT_AUTH_ADD {name} x25519:{key}")
        except ControlPortError as error:
            raise ControlPortError(
                f"Tor does not take the key for {self.address.short}",
                why=error.why,
                fix="It has to be Tor 0.4.6 or newer: `tor --version`.",
            ) from None

    async def reach(self, dial_it: DialIt, control: "Control") -> socket.socket:
        """Dial it when Tor has the key.

        Raises:
            DialError: As ``dial_it``.
            ControlPortError: As `tell`.
            TorNotRunningError: As `tell`.
        """
        await self.tell(control)
        return await dial_it(self.address)

    async def try_without_key(self, dial_it: DialIt) -> socket.socket:
        """Dial it through a Tor that has to have the key already.

        Raises:
            DialError: As ``dial_it``; what a private door may look like to who has no
                key for it is told as that.
        """
        try:
            return await dial_it(self.address)
        except DialError as error:
            is_about_key = isinstance(error, ClientAuthorizationError)
            if is_about_key or error.reply in GONE:
                raise _without_key(error) from error
            raise

    @property
    def torrc_line(self) -> str:
        """The one line of a file ``….auth_private`` in Tor's ClientOnionAuthDir."""
        return f"{_label(self.address)}:descriptor:x25519:{self.key}"


class Admissions:
    """Those that this process has, by the name of the service."""

    def __init__(self) -> None:
        self._known: dict[str, Admission] = {}

    def add(self, name: OnionAddress, admission: Admission) -> None:
        """Use one from now on for a service, with all its sub-domains."""
        self._known[name.service] = admission

    def find(self, name: OnionAddress) -> Admission | None:
        """Return the one for a service, or for a sub-domain of it."""
        return self._known.get(name.service)

    async def reach(
        self,
        name: OnionAddress,
        dial_it: DialIt,
        control: "Callable[[], Awaitable[Control]] | None",
    ) -> socket.socket:
        """Dial what ``name`` leads to, once Tor has the key for it, if there is one.

        Tor forgets keys at a new identity, for which others may ask too, and which
        comes up to ten seconds late: that may be between the key and the dial. So a
        key that it has not any more is given once again.

        Args:
            name: Which service.
            dial_it: Dials an address.
            control: Returns the control connection; None for a Tor that has none,
                and so has to have the key already.

        Raises:
            DialError: As ``dial_it``; where it may be about the key, it says so.
            ControlPortError: Tor does not take the key.
            TorNotRunningError: Tor has ended.
        """
        admission = self.find(name)
        if admission is None:
            return await dial_it(name)
        if control is None:
            return await admission.try_without_key(dial_it)
        try:
            return await admission.reach(dial_it, await control())
        except DialError as error:
            if error.reply != NO_KEY:
                raise
        try:
            return await admission.reach(dial_it, await control())
        except DialError as error:
            if error.reply != NO_KEY:
                raise
            raise _key_forgotten(error) from error


def _without_key(error: DialError) -> DialError:
    """Return what a failure means where Tor could not be given the key."""
    return ClientAuthorizationError(
        error.what,
        host=error.host,
        reply=error.reply,
        can_retry=error.can_retry,
        why="the server is behind a private door, and this Tor could not be given the "
        "key for it: it has no control port that we know",
        fix="Add `ControlPort 9051` and `CookieAuthentication 1` to the torrc and "
        "restart Tor; or let us start a Tor of our own: leave --socks out.",
    )


def _key_forgotten(error: DialError) -> DialError:
    """Return what it means that Tor has no key, where it was given one just before."""
    return ClientAuthorizationError(
        error.what,
        host=error.host,
        reply=error.reply,
        can_retry=True,
        why="this Tor has forgotten the key that we gave it for the server's private "
        "door; it does at each new identity that somebody asks it for",
        fix="Try again in a moment. If it stays, look for the program that asks this "
        "Tor for new identities all the time.",
    )


def _label(address: OnionAddress) -> str:
    return address.service.removesuffix(".onion")
