"""TLS inside the circuit: with the one certificate that is pinned."""

import hashlib
import hmac
import ssl
import xml.etree.ElementTree as ET
from typing import Final

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import CertificateError, FeatureMissingError, SessionError
from xmpp_onion.session.wire import Wire

__all__ = ["START_TLS", "needs_tls", "offers_tls", "require_tls", "start_tls"]

_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
# What a server is asked that offers TLS.
START_TLS: Final = f"<starttls xmlns='{_TLS}'/>"
# Two round trips over a slow circuit, with room.
_HANDSHAKE_TIMEOUT: Final = 90.0


def offers_tls(features: ET.Element) -> bool:
    """Tell whether a server would encrypt."""
    return features.find(f"{{{_TLS}}}starttls") is not None


def needs_tls(features: ET.Element) -> bool:
    """Tell whether a server lets nobody in without."""
    return features.find(f"{{{_TLS}}}starttls/{{{_TLS}}}required") is not None


def require_tls(features: ET.Element) -> None:
    """Go on only with a server that would encrypt.

    Raises:
        FeatureMissingError: It does not offer TLS, or somebody took the offer away.
    """
    if not offers_tls(features):
        raise FeatureMissingError(
            "the server does not offer TLS",
            feature="RFC 6120, section 5",
            why="it was set up without, or somebody took the offer away",
            fix="Ask the operator over another channel; do not log in before.",
        )


async def start_tls(wire: Wire, domain: OnionAddress, pinned: str) -> str:
    """Encrypt, and return the certificate's SHA-256 once it is the one pinned.

    The server was asked already (:data:`START_TLS`), and has not answered yet.

    Raises:
        CertificateError: It is another certificate.
    """
    answer = await wire.next_element()
    if answer.tag != f"{{{_TLS}}}proceed":
        raise SessionError(
            "the server did not start TLS",
            fix="Try again in a moment; if it stays, ask its operator.",
        )
    wire.refuse_leftovers()
    try:
        der = await wire.start_tls(_context(), domain, _HANDSHAKE_TIMEOUT)
    except ssl.SSLError as error:
        raise SessionError(
            "TLS with the server failed",
            why=error.reason or "handshake failed",
            fix="Try again in a moment; if it stays, ask its operator.",
        ) from error
    shown = hashlib.sha256(der).hexdigest()
    if not der or (pinned and not hmac.compare_digest(shown, pinned.lower())):
        raise CertificateError(
            "the server shows another certificate than the one pinned",
            why=f"SHA-256 {shown} instead of {pinned}",
            fix="Nothing was sent. Ask the operator over another channel whether "
            "it was changed; if so, pin the new one.",
        )
    return shown


def _context() -> ssl.SSLContext:
    """Return a context that takes any certificate: it is compared afterwards.

    No authority vouches for an onion. What counts is the certificate that is
    pinned, byte for byte, before anything is sent.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
