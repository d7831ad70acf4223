"""What Tor's SOCKS reply codes mean for somebody who waits for a connection.

Source: RFC 1928, section 6, and Tor's SOCKS extensions, section 1 (proposal 304).
A daemon without ``ExtendedErrors`` on its ``SocksPort`` sends the plain codes
only, so the advice for those covers more than one cause.
"""

from typing import Final, NamedTuple

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import (
    ClientAuthorizationError,
    DialError,
    DialTimeoutError,
    OnionNotFoundError,
    OnionUnreachableError,
)

__all__ = ["GONE", "NO_KEY", "refused"]

# What Tor says of a service that it takes for gone, by what it has seen of it before;
# the first is all that a SocksPort without ExtendedErrors says.
GONE: Final = frozenset({0x04, 0xF0, 0xF1, 0xF2, 0xF3, 0xF7})

# The service lets in only who has a key, and Tor has none for it.
NO_KEY: Final = 0xF4


class _Meaning(NamedTuple):
    """What a reply code is told as."""

    error: type[DialError]
    can_retry: bool
    why: str
    fix: str


_LATER: Final = "Try again in a moment; Tor builds new circuits each time."
_TORRC: Final = (
    "Your Tor may be set up to forbid it: look at the SocksPort and SocksPolicy "
    "lines of its torrc."
)
_FOREIGN: Final = (
    "Make sure that this is the SOCKS port of a Tor 0.4.3 or newer: `tor --version`."
)

_MEANINGS: Final = {
    0x01: _Meaning(
        DialError,
        can_retry=True,
        why="the service answers, and what stands behind this port does not",
        fix="Try again later; if it stays, tell the operator: the program behind "
        "the onion service is down.",
    ),
    0x02: _Meaning(
        DialError,
        can_retry=False,
        why="a rule of this Tor forbids the connection",
        fix=_TORRC,
    ),
    0x03: _Meaning(
        DialError,
        can_retry=True,
        why="Tor has no way into its network at the moment",
        fix="Check this machine's own connection, then try again.",
    ),
    0x04: _Meaning(
        DialError,
        can_retry=True,
        why="Tor found no way to the service: it is off, or the name is wrong",
        fix="Compare the name with its source, and try again later. `SocksPort … "
        "ExtendedErrors` in the torrc would tell the reason.",
    ),
    0x05: _Meaning(
        DialError,
        can_retry=True,
        why="the onion service is up and offers nothing on this port",
        fix="Check the port number; if it is right, the operator's server is not "
        "running yet, so try again later.",
    ),
    0x06: _Meaning(
        DialTimeoutError,
        can_retry=True,
        why="Tor gave up waiting for the service",
        fix=_LATER,
    ),
    0x07: _Meaning(
        DialError,
        can_retry=False,
        why="what answers at the SOCKS port does not understand the request",
        fix=_FOREIGN,
    ),
    0x08: _Meaning(
        DialError,
        can_retry=False,
        why="what answers at the SOCKS port does not take names",
        fix=_FOREIGN,
    ),
    0xF0: _Meaning(
        OnionNotFoundError,
        can_retry=True,
        why="no such service is published: it is off, just starting, or the name "
        "is wrong",
        fix="Compare the name with its source, and try again in a minute.",
    ),
    0xF1: _Meaning(
        OnionUnreachableError,
        can_retry=True,
        why="what the service has published cannot be read",
        fix="Try again in a few minutes; if it stays, check this machine's clock "
        "and tell the operator.",
    ),
    0xF2: _Meaning(
        OnionUnreachableError,
        can_retry=True,
        why="the service is published and does not answer; it may have just stopped",
        fix="Try again in a minute.",
    ),
    0xF3: _Meaning(
        OnionUnreachableError,
        can_retry=True,
        why="the meeting with the service failed half-way",
        fix=_LATER,
    ),
    NO_KEY: _Meaning(
        ClientAuthorizationError,
        can_retry=False,
        why="the service lets in only clients whose key it knows, and we showed none",
        fix="Ask the operator for a client authorization key, and put it into your "
        "Tor's ClientOnionAuthDir.",
    ),
    0xF5: _Meaning(
        ClientAuthorizationError,
        can_retry=False,
        why="the service does not know our client authorization key; it may have "
        "been revoked",
        fix="Ask the operator for a new key, and replace the one in your Tor's "
        "ClientOnionAuthDir.",
    ),
    0xF6: _Meaning(
        DialError,
        can_retry=False,
        why="Tor says that this is no onion address",
        fix="Compare the name with where you copied it from.",
    ),
    0xF7: _Meaning(
        OnionUnreachableError,
        can_retry=True,
        why="the service did not answer within Tor's own time limit",
        fix=_LATER,
    ),
}
# A later Tor may add codes; a bounded retry does no harm.
_UNKNOWN: Final = _Meaning(
    DialError,
    can_retry=True,
    why="Tor gave a reason that this version does not know",
    fix="Try again, and look into Tor's log.",
)


def refused(address: OnionAddress, port: int, reply: int) -> DialError:
    """Return the error that says what ``reply`` means and whether to try again."""
    meaning = _MEANINGS.get(reply, _UNKNOWN)
    return meaning.error(
        f"could not reach {address.short} port {port} (Tor's reply 0x{reply:02X})",
        host=str(address),
        reply=reply,
        can_retry=meaning.can_retry,
        why=meaning.why,
        fix=meaning.fix,
    )
